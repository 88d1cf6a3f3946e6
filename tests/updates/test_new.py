"""`crewyard new`: a whole project or none, and what could not be done is said."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import sh
from updates.looked_at import contents
from updates.releases import head

from crewyard.__main__ import main

Said = pytest.CaptureFixture[str]
NOT_POSSIBLE = 2


def new(releases: Path, place: Path, *arguments: str) -> int:
    return main(["new", str(place), "--template", str(releases), "--yes", "--no-lock", *arguments])


def answers(place: Path) -> dict[str, object]:
    found: dict[str, object] = yaml.safe_load((place / ".copier-answers.yml").read_text())
    return found


def test_it_makes_a_project_that_git_and_updates_know(releases: Path, tmp_path: Path, capsys: Said) -> None:
    place = tmp_path / "support-desk"
    assert new(releases, place, "--broker", "rabbitmq", "--data", "memory=none") == 0
    found = answers(place)
    assert (found["project_name"], found["broker"], found["memory"]) == ("support-desk", "rabbitmq", "none")
    assert (found["_commit"], found["_src_path"]) == (head(), str(releases))
    assert sh(place, "git", "status", "--porcelain").stdout
    said = capsys.readouterr().out
    assert "runtime/src/" in said
    assert "managed" in said
    assert [path.name for path in tmp_path.iterdir()] == ["support-desk"]
    assert place.stat().st_mode & 0o777 == 0o755


def test_every_question_is_a_flag(capsys: Said) -> None:
    asked = yaml.safe_load((Path(__file__).parent.parent.parent / "copier.yml").read_text())
    with pytest.raises(SystemExit):
        main(["new", "--help"])
    said = capsys.readouterr().out
    questions = [name for name, one in asked.items() if not name.startswith("_") and one.get("when", True)]
    assert len(questions) == 14
    assert not [name for name in questions if f"--{name.replace('_', '-')}" not in said]


def test_a_release_can_be_named(releases: Path, tmp_path: Path) -> None:
    assert new(releases, tmp_path / "old", "--release", "0.5.0") == 0
    assert answers(tmp_path / "old")["_commit"] == "0.5.0"


def test_answers_come_from_a_file(releases: Path, tmp_path: Path) -> None:
    (tmp_path / "answers.yml").write_text("broker: sqs\nauth: oidc\n")
    assert new(releases, tmp_path / "crew", "--data-file", str(tmp_path / "answers.yml"), "--auth", "api-keys") == 0
    found = answers(tmp_path / "crew")
    assert (found["broker"], found["auth"]) == ("sqs", "api-keys")


REFUSED = {
    "a wrong answer": (("--data", "broker=kafka"), "kafka"),
    "a model without a provider": (("--model-fast", "gpt-4o"), "provider/model"),
    "a release that is none": (("--release", "0.9.9"), "no release 0.9.9"),
    "a name that no question has": (("--data", "brokr=redis"), "of the name brokr"),
    "a flag of a later release": (
        ("--release", "0.5.0", "--secrets", "aws"),
        "Release 0.5.0 asks nothing of the name secrets",
    ),
    "no answer at all": (("--data", "redis"), "--data NAME=VALUE"),
    "a file of answers that is none": (("--data-file", "/nowhere.yml"), "/nowhere.yml cannot be read"),
    "a template that is not there": (("--template", "/nowhere"), "does not answer"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_refused_and_leaves_nothing(releases: Path, tmp_path: Path, capsys: Said, name: str) -> None:
    arguments, sentence = REFUSED[name]
    assert new(releases, tmp_path / "crew", *arguments) == NOT_POSSIBLE
    said = capsys.readouterr().err
    assert sentence in said
    assert "Traceback" not in said
    assert not list(tmp_path.iterdir())


def test_a_directory_that_is_there_is_left_alone(releases: Path, tmp_path: Path, capsys: Said) -> None:
    (tmp_path / "mine").write_text("mine\n")
    assert new(releases, tmp_path) == NOT_POSSIBLE
    assert "is there already" in capsys.readouterr().err
    assert (tmp_path / "mine").read_text() == "mine\n"
    (tmp_path / "empty").mkdir()
    assert new(releases, tmp_path / "empty") == 0


def test_a_directory_of_a_repository_gets_none_of_its_own(releases: Path, tmp_path: Path) -> None:
    sh(tmp_path, "git", "init", "--quiet")
    assert new(releases, tmp_path / "crews/desk") == 0
    assert not (tmp_path / "crews/desk/.git").exists()


def test_without_a_network_the_project_stays_and_the_rest_is_said(releases: Path, tmp_path: Path) -> None:
    place = tmp_path / "desk"
    done = subprocess.run(
        [sys.executable, "-m", "crewyard", "new", str(place), "--template", str(releases), "--yes"],
        env={**os.environ, "UV_OFFLINE": "1", "UV_CACHE_DIR": str(tmp_path / "cache"), "UV_PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr
    assert "Left to do:" in done.stdout
    assert "`uv lock`" in done.stdout
    assert ".copier-answers.yml" in contents(place)


def test_it_locks_and_checks(releases: Path, tmp_path: Path) -> None:
    place = tmp_path / "desk"
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "crewyard",
            "new",
            str(place),
            "--template",
            str(releases),
            "--yes",
            "--python-version",
            "3.11",
        ],
        env={**{k: v for k, v in os.environ.items() if k != "OPENAI_API_KEY"}, "UV_PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr
    assert (place / "uv.lock").is_file()
    assert "OPENAI_API_KEY" in done.stdout + done.stderr
    assert "`uv run desk check`" in done.stdout
