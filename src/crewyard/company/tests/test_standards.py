"""A project by these standards has their answers, keeps their policies, and follows their next release."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

HERE = Path(__file__).parent.parent
WHO = ("-c", "user.name=test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false")


def run(place: Path, *command: str) -> None:
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"


def commit(place: Path, *tag: str) -> None:
    run(place, "git", "init", "--quiet")
    run(place, "git", "add", "--all")
    run(place, "git", *WHO, "commit", "--quiet", "--allow-empty", "-m", "test")
    if tag:
        run(place, "git", "tag", *tag)


@pytest.fixture
def standards(tmp_path: Path) -> Path:
    """This repository as it is now, as release 1.0."""
    place = tmp_path / "standards"
    shutil.copytree(HERE, place, ignore=shutil.ignore_patterns(".git", ".venv", "__pycache__", ".pytest_cache"))
    commit(place, "1.0")
    return place


@pytest.fixture
def project(standards: Path, tmp_path: Path) -> Path:
    """A new project by release 1.0."""
    run(tmp_path, "crewyard", "new", "my-crew", "--team", str(standards), "--yes", "--no-lock")
    commit(tmp_path / "my-crew")
    return tmp_path / "my-crew"


def answers(place: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((place / ".copier-answers.yml").read_text())
    return content


def test_a_new_project_has_the_answers(project: Path) -> None:
    wanted = yaml.safe_load((HERE / "answers.yml").read_text())
    locked = wanted.pop("locked", [])
    has = answers(project)
    assert {name: has.get(name) for name in wanted} == wanted
    assert list(has.get("locked", {})) == locked


def test_a_new_project_keeps_the_policies(project: Path) -> None:
    run(project, "crewyard", "doctor", ".")


def test_a_project_follows_the_next_release(standards: Path, project: Path) -> None:
    (standards / "template/FROM_THE_NEXT_RELEASE.md").write_text("new\n")
    commit(standards, "1.1")
    run(project, "crewyard", "update", "--yes", "--no-lock")
    assert (project / "FROM_THE_NEXT_RELEASE.md").is_file()
