"""Projects with a year of a team's edits, brought from every release to the head: nothing of theirs is touched."""

from pathlib import Path

import pytest
from conftest import commit
from updates.conftest import Make
from updates.edits import EDITS
from updates.looked_at import Looked, contents
from updates.releases import released

from crewyard.__main__ import main

FRAMEWORKS = ("crewai", "autogen", "agentchat", "agent-framework")
FIRST_WITH_AUTOGEN = "0.5.0"
FIRST_WITH_KUBERNETES = "0.6.0"


def _corpus() -> list[tuple[str, str]]:
    versions = released()
    others = versions[versions.index(FIRST_WITH_AUTOGEN) :]
    return [
        (version, framework) for framework in FRAMEWORKS for version in (versions if framework == "crewai" else others)
    ]


def answers(release: str, framework: str) -> dict[str, str]:
    """The answers of a project of the corpus: on Kubernetes, where the release knows it."""
    versions = released()
    kubernetes = FIRST_WITH_KUBERNETES in versions and versions.index(release) >= versions.index(FIRST_WITH_KUBERNETES)
    asked = {"framework": framework} if versions.index(release) >= versions.index(FIRST_WITH_AUTOGEN) else {}
    return {**asked, **({"deploy": "kubernetes"} if kubernetes else {})}


def updated(project: Path, original: Path, **data: str) -> Looked:
    """Bring an edited project to the head, without trust, and look at it."""
    commit(project, "edited")
    before = contents(project)
    answers = [part for name, value in data.items() for part in ("--data", f"{name}={value}")]
    assert main(["update", str(project), "--no-lock", "--yes", *answers]) == 0
    return Looked(contents(original), before, contents(project))


@pytest.mark.parametrize(("release", "framework"), _corpus())
def test_a_year_of_edits_meets_no_conflict_and_loses_no_line(
    project_of: Make, originals: Make, release: str, framework: str
) -> None:
    given = answers(release, framework)
    project = project_of(release, **given)
    for make in EDITS.values():
        make(project)
    looked = updated(project, originals(release, **given))
    assert (looked.conflicts, looked.lost) == ([], [])
    assert f"_commit: {release}\n" not in (project / ".copier-answers.yml").read_text()
