"""Importing the project makes nothing, reads nothing and starts nothing; and it is quick where it must be."""

import os
import subprocess
import sys

import pytest
from crewyard_runtime import Application
from crewyard_runtime.testing.failures import Finding, guard
from crewyard_runtime.testing.plugin import Observed
from crewyard_runtime.testing.probe import import_times

FRAMEWORKS = ("crewai", "autogen", "autogen_agentchat", "agent_framework", "litellm", "langchain", "openai", "chromadb")
LIGHT_TIMES = 1.5  # what a gateway loads may cost this many times what the runtime costs that it loads anyway
BUILD_TIMES = 0.5  # what only runs load may add this much to the framework's own import


@pytest.mark.guards("F01")
def test_import_makes_no_agent_crew_client_or_tool(observed: Observed) -> None:
    guard("F01", observed.report.findings("made_at_import"))


@pytest.mark.guards("F04")
def test_import_reads_no_variable(observed: Observed) -> None:
    guard("F04", observed.report.findings("read_at_import"))


@pytest.mark.guards("F24")
def test_import_starts_no_thread(observed: Observed) -> None:
    guard("F24", observed.report.findings("started_at_import"))


@pytest.mark.guards("F25")
def test_what_a_gateway_loads_imports_no_framework(application: Application) -> None:
    loaded = _imports(application.input.__module__, application.settings.__module__, *_declared())
    guard(
        "F25",
        [Finding(f"{name} is imported with the application's declaration") for name in FRAMEWORKS if name in loaded],
    )


@pytest.mark.guards("F25")
def test_what_a_gateway_loads_is_light(application: Application) -> None:
    loaded = _imports("crewyard_runtime", application.input.__module__, application.settings.__module__, *_declared())
    added = dict(list(loaded.items())[list(loaded).index("crewyard_runtime") + 1 :])
    own = sum(loaded.values()) - sum(added.values())
    heavy = [f"importing {name} takes {seconds:.2f} s" for name, seconds in _dearest(added)]
    guard("F25", heavy if sum(added.values()) > max(own * (LIGHT_TIMES - 1), 0.1) else [])


@pytest.mark.guards("F25")
def test_what_runs_load_adds_little_to_the_framework(observed: Observed) -> None:
    seconds = observed.report.import_seconds
    theirs = {name: seconds.get(name, 0) for name in observed.report.theirs}
    added = sum(theirs.values())
    heavy = [f"importing {name} takes {cost:.2f} s" for name, cost in _dearest(theirs)]
    guard("F25", heavy if added > (sum(seconds.values()) - added) * BUILD_TIMES else [])


def _declared() -> list[str]:
    from importlib.metadata import entry_points

    return [point.module for point in entry_points(group="crewyard.applications")]


def _imports(*modules: str) -> dict[str, float]:
    """Every module that importing these brings in, in a fresh process, with its own seconds, in order of completion."""
    code = f"import {', '.join(modules)}"
    process = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", code], capture_output=True, text=True, check=False, env=os.environ
    )
    assert process.returncode == 0, process.stderr[-2000:]
    return import_times(process.stderr)[0]


def _dearest(loaded: dict[str, float]) -> list[tuple[str, float]]:
    groups: dict[str, float] = {}
    for name, seconds in loaded.items():
        groups[name.partition(".")[0]] = groups.get(name.partition(".")[0], 0) + seconds
    return sorted(groups.items(), key=lambda item: -item[1])[:3]
