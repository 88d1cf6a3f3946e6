"""Changing an answer is an update too: nothing of the old choice is left behind, and what is frozen or locked stays."""

import shutil
from pathlib import Path

import copier
import pytest
from conftest import commit
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from updates.conftest import Make
from updates.edits import EDITS, write
from updates.looked_at import Looked, contents
from updates.releases import head, released

from crewyard import zones
from crewyard.__main__ import main

Said = pytest.CaptureFixture[str]
# The default first.
ANSWERS = {
    "broker": ["redis", "rabbitmq", "sqs"],
    "auth": ["api-keys", "oidc"],
    "memory": ["pgvector", "qdrant", "mem0-cloud", "none"],
    "code_execution": ["none", "docker"],
    "secrets": ["files", "environment", "aws", "gcp", "azure"],
    "deploy": ["compose", "kubernetes"],
    "model_strong": ["openai/gpt-4o", "deepseek/deepseek-chat"],
    "cooldown": ["3 days", "1 week"],
    "python_version": ["3.12", "3.11", "3.13"],
    "description": ["Answers customers' tickets with a crew of agents.", "Does another thing."],
    "framework": ["crewai", "autogen", "agentchat", "agent-framework"],
}
# Each answer in one of them at least; every one is gone to and left again.
ROUNDS = [{name: values[turn % len(values)] for name, values in ANSWERS.items()} for turn in (1, 2, 3, 4)]


def update(project: Path, answers: dict[str, str]) -> int:
    data = [part for name, value in answers.items() for part in (f"--{name.replace('_', '-')}", value)]
    return main(["update", str(project), "--yes", "--no-lock", *data])


def but_code(place: Path) -> dict[str, bytes]:
    """All files but the team's code; how the answers file came to be is told in it."""
    return {name: text for name, text in contents(place).items() if not name.startswith(zones.CODE)}


def test_changed_answers_leave_nothing_of_the_old_ones(project_of: Make, originals: Make) -> None:
    project = project_of(head())
    for answers in (*ROUNDS, {name: values[0] for name, values in ANSWERS.items()}):
        assert update(project, answers) == 0
        assert but_code(project) == but_code(originals(head(), **answers))
        commit(project, "changed")


def test_an_overlay_of_the_teams_outlives_kubernetes(project_of: Make, originals: Make) -> None:
    project = project_of(head(), deploy="kubernetes")
    edited, added = (project / f"deploy/overlays/{name}/kustomization.yaml" for name in ("production", "ours"))
    edited.write_text(f"{edited.read_text()}# ours\n")
    write(added, "resources: [../../base]\n")
    commit(project, "edited")
    before = edited.read_text()
    assert update(project, {"deploy": "compose"}) == 0
    assert (edited.read_text(), added.exists()) == (before, True)
    assert [path.name for path in (project / "deploy").iterdir()] == ["overlays"]
    # It needs its neighbours.
    assert contents(edited.parent) == contents(
        originals(head(), deploy="kubernetes") / "deploy/overlays/production"
    ) | {"kustomization.yaml": before.encode()}


def test_a_file_of_the_teams_follows_an_answer_or_is_shown(project_of: Make, originals: Make, capsys: Said) -> None:
    project = project_of(head(), deploy="kubernetes", secrets="gcp")
    overlay = project / "deploy/overlays/production"
    with (overlay / "kustomization.yaml").open("a") as file:
        file.write("# ours\n")
    for name in ("renovate.json", "deploy/overlays/production/clients.yaml"):
        (project / name).unlink()
    commit(project, "edited")
    before = (overlay / "kustomization.yaml").read_bytes()
    assert update(project, {"secrets": "aws", "broker": "sqs"}) == 0
    assert "+  - path: service-account.yaml" in capsys.readouterr().out
    fresh = contents(originals(head(), deploy="kubernetes", secrets="aws", broker="sqs") / "deploy/overlays/production")
    del fresh["clients.yaml"]
    assert contents(overlay) == fresh | {"kustomization.yaml": before}
    assert not (project / "renovate.json").exists()


def test_what_the_team_has_deleted_stays_away_in_a_new_release(project_of: Make) -> None:
    project = project_of("0.6.0")
    (project / "system-packages.txt").unlink()
    commit(project, "deleted")
    assert update(project, {}) == 0
    assert not (project / "system-packages.txt").exists()
    assert (project / "renovate.json").is_file()


def test_a_locked_answer_stays(releases: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    project = tmp_path / "my-crew"
    data = {"broker": "rabbitmq", "locked": ["broker"]}
    copier.run_copy(str(releases), project, data=data, defaults=True, quiet=True, unsafe=False)
    commit(project, "new")
    before = contents(project)
    assert main(["update", str(project), "--yes", "--no-lock", "--broker", "redis"]) == 2
    assert "broker is locked by your company's standards: it stays rabbitmq." in capsys.readouterr().err
    assert contents(project) == before
    with pytest.raises(ValueError, match="it stays rabbitmq"):
        copier.run_update(project, data={"broker": "redis"}, defaults=True, overwrite=True, quiet=True)
    assert update(project, {"memory": "none"}) == 0


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    release=st.sampled_from(released()),
    names=st.lists(st.sampled_from(sorted(EDITS)), unique=True),
    lines=st.lists(
        st.text(st.characters(codec="utf-8", exclude_characters="\r\x85\u2028\u2029"), max_size=40), max_size=5
    ),
    answers=st.fixed_dictionaries({}, optional={name: st.sampled_from(values) for name, values in ANSWERS.items()}),
)
def test_random_edits_and_answers_meet_no_conflict_and_lose_no_line(
    project_of: Make, originals: Make, release: str, names: list[str], lines: list[str], answers: dict[str, str]
) -> None:
    project = project_of(release, name="random")
    for name in names:
        EDITS[name](project)
    for path in sorted((project / "src").rglob("*.py")):
        path.write_text(path.read_text("utf-8") + "\n".join(lines), "utf-8", newline="")
    commit(project, "edited")
    before = contents(project)
    try:
        assert update(project, answers) == 0
        looked = Looked(contents(originals(release)), before, contents(project))
        assert (looked.conflicts, looked.lost) == ([], [])
    finally:
        shutil.rmtree(project)
