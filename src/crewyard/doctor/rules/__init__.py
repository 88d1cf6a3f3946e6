"""Every rule about Python source."""

from collections.abc import Callable, Iterator

from crewyard.doctor.findings import Finding
from crewyard.doctor.project import Project
from crewyard.doctor.rules import (
    environment,
    flows,
    jobs,
    lifetime,
    limits,
    loops,
    outcome,
    reach,
    retries,
    sandbox,
    secrets,
    sharing,
    state,
    storage,
)
from crewyard.doctor.source import Source

Rule = Callable[[Source, Project], Iterator[Finding]]
RULES: tuple[Rule, ...] = (
    *lifetime.RULES,
    *sharing.RULES,
    *environment.RULES,
    *storage.RULES,
    *state.RULES,
    *flows.RULES,
    *limits.RULES,
    *retries.RULES,
    *loops.RULES,
    *outcome.RULES,
    *jobs.RULES,
    *sandbox.RULES,
    *reach.RULES,
    *secrets.RULES,
)
