"""`crewyard fleet`: what it tells of many projects, and that its findings are the doctor's."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from updates.conftest import Make
from updates.edits import replace, write
from updates.releases import head, released

from crewyard import fleet
from crewyard.__main__ import main
from crewyard.doctor.check import check, check_each
from crewyard.doctor.findings import Finding
from crewyard.project import ANSWERS
from crewyard.standards import STANDARDS
from crewyard.template import Template

Said = pytest.CaptureFixture[str]
WELL, FOUND, NOT_POSSIBLE = 0, 1, 2
OLD, OLDER = "0.5.0", "0.4.0"
COPIES = ("copy-0", "copy-1", "copy-2")
BAD = """
import os
import time

import requests
from crewai.tools import tool

KEY = os.environ["KEY"]


@tool("Search")
def search(query: str) -> str:
    "Search."
    return requests.get(query).text


async def waits() -> None:
    time.sleep(1)
    open("file")
"""
KEY = "sk-q8Zt3LwPv0RkYb6HcNf1T3BlbkFJm2Xa9Ue5Gd7Ks4Jo"  # of nobody, as in tests/doctor/cases
POLICIES = {
    "models": ["anthropic/*"],
    "required_guardrails": ["cites_sources"],
    "minimum_cooldown": "2 weeks",
}


def shown(capsys: Said, *arguments: object) -> tuple[int, list[dict[str, Any]]]:
    """The exit code, and the projects as JSON."""
    code = main(["fleet", *map(str, arguments), "--format", "json"])
    projects: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return code, projects


def table(capsys: Said, *arguments: object) -> tuple[int, list[str]]:
    """The exit code, and the lines of the table."""
    code = main(["fleet", *map(str, arguments)])
    return code, capsys.readouterr().out.splitlines()


def with_answer(project: Path, **answers: str) -> None:
    """Answers as they would be had they been given to Copier."""
    file = project / ANSWERS
    file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), **answers}))


@pytest.fixture
def folder(project_of: Make, tmp_path: Path) -> Path:
    """A folder of four projects: two of older releases, two of the newest, one of them of AutoGen."""
    project_of(OLDER, name="a-older")
    project_of(OLD, name="b-old")
    project_of(head(), name="c-new")
    project_of(head(), name="d-new", framework="agentchat")
    return tmp_path


def test_the_table_has_a_line_for_each_project_and_a_summary(folder: Path, capsys: Said) -> None:
    code, lines = table(capsys, folder)
    behind = len(released()) - released().index(OLDER) - (head() in released())
    assert code == FOUND
    assert lines[0].split() == ["project", "release", "behind", "other", "than", "the", "standards", "doctor"]
    assert lines[1].split()[:5] == [str(folder / "a-older"), OLDER, str(behind), "to", head()]
    assert lines[3].split()[:2] == [str(folder / "c-new"), head()]
    assert lines[-1] == "projects: 4, behind: 2, other than the standards: 0, with errors: 0, not read: 0"


def test_the_json_has_what_a_program_asks_for(folder: Path, capsys: Said) -> None:
    code, projects = shown(capsys, folder)
    assert code == FOUND
    assert [Path(one["path"]).name for one in projects] == ["a-older", "b-old", "c-new", "d-new"]
    assert [one["behind"] for one in projects[2:]] == [0, 0]
    assert projects[0]["behind"] == projects[1]["behind"] + 1
    assert projects[3] == {
        "path": str(folder / "d-new"),
        "name": "my-crew",
        "framework": "agentchat",
        "release": head(),
        "newest": head(),
        "behind": 0,
        "behind_on_top": {},
        "differing": {},
        "errors": 0,
        "hints": projects[3]["hints"],
        "problem": "",
    }


def test_nothing_to_do_is_exit_code_0(folder: Path, capsys: Said) -> None:
    assert table(capsys, folder / "c-new", folder / "d-new")[0] == WELL


def test_a_commit_between_releases_is_behind_those_after_it(project_of: Make, capsys: Said) -> None:
    project = project_of(OLD)
    with_answer(project, _commit=f"{OLD}-3-g0123abc")
    _, (one,) = shown(capsys, project)
    assert (one["release"], one["newest"], one["problem"]) == (f"{OLD}-3-g0123abc", head(), "")
    assert one["behind"] == len([*released(), head()]) - released().index(OLD) - 1


def test_locked_answers_that_differ_from_the_projects_own_standards(folder: Path, capsys: Said) -> None:
    locked = "answers: {broker: rabbitmq, memory: pgvector, auth: none, locked: [broker, memory]}\n"
    write(folder / "c-new" / STANDARDS, locked)
    code, (one,) = shown(capsys, folder / "c-new")
    assert code == FOUND
    assert one["differing"] == {"broker": ["redis", "rabbitmq"]}
    code, lines = table(capsys, folder / "c-new")
    assert "broker: redis for rabbitmq" in lines[1]
    assert lines[-1] == "projects: 1, behind: 0, other than the standards: 1, with errors: 0, not read: 0"


def test_locked_answers_that_differ_from_standards_that_are_given(folder: Path, tmp_path: Path, capsys: Said) -> None:
    write(tmp_path / "standards.yml", "answers: {framework: agentchat, broker: redis, locked: [framework]}\n")
    code, projects = shown(capsys, folder / "c-new", folder / "d-new", "--standards", tmp_path / "standards.yml")
    assert code == FOUND
    assert [one["differing"] for one in projects] == [{"framework": ["crewai", "agentchat"]}, {}]


def test_standards_that_cannot_be_read_are_named(folder: Path, tmp_path: Path, capsys: Said) -> None:
    write(tmp_path / "standards.yml", "answers: {locked: [broker]}\n")
    assert main(["fleet", str(folder), "--standards", str(tmp_path / "standards.yml")]) == NOT_POSSIBLE
    assert "locks broker without an answer" in capsys.readouterr().err


def test_a_list_names_projects_from_its_own_place(
    folder: Path, capsys: Said, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    write(folder / "lists/ours.txt", f"# ours\n\n../b-old\n  # and\n  ../c-new  \n{folder}/d-new\n")
    _, projects = shown(capsys, "--list", folder / "lists/ours.txt")
    assert [Path(one["path"]).resolve() for one in projects] == [folder / name for name in ("b-old", "c-new", "d-new")]
    assert not any(one["problem"] for one in projects)


def test_a_list_that_cannot_be_read_is_named(tmp_path: Path, capsys: Said) -> None:
    assert main(["fleet", "--list", str(tmp_path / "nowhere.txt")]) == NOT_POSSIBLE
    assert "nowhere.txt is no list of projects" in capsys.readouterr().err


def test_repositories_in_folders_are_found_and_not_what_is_inside_of_a_project(folder: Path, capsys: Said) -> None:
    nested = folder / "group/team"
    nested.mkdir(parents=True)
    (folder / "b-old").rename(nested / "b-old")
    shutil.copytree(folder / "c-new", folder / "d-new/copy")
    for left_out in (".cache", "node_modules"):
        (folder / left_out).mkdir()
        shutil.copy(folder / "c-new" / ANSWERS, folder / left_out)
    _, projects = shown(capsys, folder, "--no-doctor")
    assert [Path(one["path"]).relative_to(folder).as_posix() for one in projects] == [
        "a-older", "c-new", "d-new", "group/team/b-old",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("answers", "why"),
    [("_commit: [\n", "is no YAML"), ("_commit: 0.5.0\n", "does not tell _src_path"), ("- 1\n", "holds no names")],
)
def test_a_broken_answers_file_is_named_beside_the_others(folder: Path, capsys: Said, answers: str, why: str) -> None:
    write(folder / "c-new" / ANSWERS, answers)
    code, lines = table(capsys, folder / "c-new", folder / "d-new")
    assert code == FOUND
    assert lines[1].split() == [str(folder / "c-new"), "?"]
    assert lines[2].split()[:2] == [str(folder / "d-new"), head()]
    assert why in lines[3]
    assert ANSWERS in lines[3]


def test_a_template_that_is_gone_is_named_and_asked_once(
    folder: Path, tmp_path: Path, capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    class Counted(Template):
        def __init__(self, source: str, below: Path | None = None) -> None:
            if below is None:
                asked.append(source)
            super().__init__(source, below)

    monkeypatch.setattr(fleet, "Template", Counted)
    for name in ("a-older", "b-old"):
        with_answer(folder / name, _src_path=str(tmp_path / "gone"))
    code, projects = shown(capsys, folder, "--no-doctor")
    assert code == FOUND
    assert [bool(one["problem"]) for one in projects] == [True, True, False, False]
    assert f"{tmp_path / 'gone'} does not answer" in projects[0]["problem"]
    assert asked.count(str(tmp_path / "gone")) == 1


def test_a_line_of_a_list_that_is_no_project_is_named_beside_the_others(folder: Path, capsys: Said) -> None:
    write(folder / "file", "")
    write(folder / "list.txt", "nowhere\nfile\nc-new\n")
    code, projects = shown(capsys, "--list", folder / "list.txt")
    assert code == FOUND
    assert [one["problem"].split(" has no ")[0] for one in projects] == [
        str(folder / "nowhere"), str(folder / "file"), "",
    ]  # fmt: skip


def test_a_path_that_is_no_directory_is_a_wrong_usage(folder: Path, capsys: Said) -> None:
    assert main(["fleet", str(folder / "c-new"), str(folder / "nowhere")]) == NOT_POSSIBLE
    assert "nowhere is no directory" in capsys.readouterr().err


def test_a_folder_without_a_project_is_a_wrong_usage(tmp_path: Path, capsys: Said) -> None:
    assert main(["fleet", str(tmp_path)]) == NOT_POSSIBLE
    assert f"No {ANSWERS} is below {tmp_path}" in capsys.readouterr().err


def test_an_error_of_the_doctor_is_something_to_do(folder: Path, capsys: Said) -> None:
    write(folder / "c-new/src/my_crew/bad.py", BAD)
    code, projects = shown(capsys, folder / "c-new", folder / "d-new")
    assert (code, bool(projects[0]["errors"]), projects[1]["errors"]) == (FOUND, True, 0)
    assert table(capsys, folder / "c-new", "--no-doctor")[0] == WELL


@pytest.fixture
def ill(project_of: Make) -> Path:
    """A project with mistakes in its modules, a data file, the image and what the company demands."""
    project = project_of(head(), name="ill")
    write(project / "src/my_crew/bad.py", BAD)
    write(project / "src/my_crew/broken.py", "def\n")
    write(project / "src/my_crew/config/more.yaml", f"api_key: {KEY}\n")
    write(project / ".env", f"OPENAI_API_KEY={KEY}\n")
    replace(project / "Dockerfile", "\nCOPY . .\n", "\nENV OPENAI_API_KEY=sk-012\nRUN pip install crewai\nCOPY . .\n")
    (project / ".dockerignore").unlink()
    write(project / STANDARDS, yaml.safe_dump({"policies": POLICIES}))
    return project


def of_the_team(findings: list[Finding]) -> list[tuple[object, ...]]:
    """All there is to say of each finding outside of the managed runtime."""
    return [
        (one.path, one.line, one.column, one.rule, one.severity, one.seen, one.edit, one.first, one.end)
        for one in findings
        if not one.path.startswith("runtime/")
    ]


def test_the_findings_in_the_teams_files_are_the_doctors(ill: Path, originals: Make) -> None:
    others = [originals(OLD), originals(head(), framework="agentchat")]
    expected = [check([place]) for place in (others[0], ill, others[1])]
    reports = check_each([others[0], ill, others[1]])
    assert [of_the_team(one.findings) for one in reports] == [of_the_team(one.findings) for one in expected]
    assert [one.not_read for one in reports] == [one.not_read for one in expected]
    found = {(one.path.rpartition("/")[2], one.rule) for one in reports[1].findings}
    assert {
        ("bad.py", "F04"), ("bad.py", "F08"), ("bad.py", "F12"), ("platform.toml", "P01"), ("pyproject.toml", "P03"),
        ("pyproject.toml", "P04"),
    } <= found  # fmt: skip
    assert {"Dockerfile", "more.yaml"} <= {file for file, _ in found}


def test_a_guardrail_that_the_runtime_alone_uses_is_none(project_of: Make) -> None:
    project = project_of(head())
    write(project / STANDARDS, "policies: {required_guardrails: [getLogger]}\n")
    assert of_the_team(check_each([project])[0].findings) == of_the_team(check([project]).findings)
    assert "P03" in {one.rule for one in check_each([project])[0].findings}


def test_a_runtime_that_crewyard_did_not_make_is_judged(tmp_path: Path) -> None:
    write(tmp_path / "runtime/bad.py", BAD)
    assert check_each([tmp_path])[0].findings == check([tmp_path]).findings != []


def test_processes_find_what_one_finds(ill: Path, capsys: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    (expected,) = shown(capsys, ill)[1]
    report = check([ill])
    team = [one for one in report.findings if not one.path.startswith("runtime/")]
    assert expected["errors"] == sum(one.severity == "error" for one in team) > 0
    assert expected["hints"] == len(team) - expected["errors"] > 0
    monkeypatch.setattr(fleet, "AT_ONCE", 2)
    for name in COPIES:
        shutil.copytree(ill, ill.parent / name, symlinks=True)
    write(ill.parent / "list.txt", "ill  # the first\nnowhere\ncopy-0\ncopy-1\n# the last\ncopy-2\nill\n")
    _, (first, nowhere, *others) = shown(capsys, "--list", ill.parent / "list.txt")
    assert [first, *others] == [{**expected, "path": str(ill.parent / name)} for name in ("ill", *COPIES)]
    assert nowhere["errors"] == 0
