"""The command: its formats, exit codes and what it says of files that it cannot read."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Render

from crewyard.__main__ import main

CREW = "import crewai\n"
BAD = "import os\nimport crewai\n\nKEY = os.environ['KEY']\n"
HINT = "import autogen\n\n\nmodels = autogen.config_list_from_json('OAI_CONFIG_LIST')\n"
Output = pytest.CaptureFixture[str]


def write(place: Path, **files: str) -> Path:
    """Files of a project, named without their .py."""
    for name, text in files.items():
        (place / f"{name}.py").write_text(text)
    return place


def doctor(capsys: Output, *arguments: object) -> tuple[int, str]:
    """The exit code and what was printed."""
    code = main(["doctor", *map(str, arguments)])
    return code, capsys.readouterr().out


def as_json(capsys: Output, place: Path) -> dict[str, list[dict[str, object]]]:
    _, printed = doctor(capsys, "--format", "json", place)
    report: dict[str, list[dict[str, object]]] = json.loads(printed)
    return report


def test_an_error_makes_the_exit_code_1(tmp_path: Path, capsys: Output) -> None:
    code, printed = doctor(capsys, write(tmp_path, app=BAD))
    assert code == 1
    assert "app.py:4:7  F04 error  the environment's KEY is read at import\n    edit: declare it" in printed
    assert printed.endswith("1 error, 0 hints in 1 file\n")


def test_hints_alone_leave_the_exit_code_0(tmp_path: Path, capsys: Output) -> None:
    code, printed = doctor(capsys, write(tmp_path, app=HINT))
    assert code == 0
    assert "app.py:4:10  F04 hint" in printed


def test_a_path_that_does_not_exist_is_a_wrong_usage(tmp_path: Path, capsys: Output) -> None:
    assert main(["doctor", str(tmp_path / "nowhere")]) == 2
    assert "nowhere does not exist" in capsys.readouterr().err


def test_a_directory_with_nothing_to_read_is_a_wrong_usage(tmp_path: Path, capsys: Output) -> None:
    assert main(["doctor", str(tmp_path)]) == 2
    assert "holds no Python file" in capsys.readouterr().err


def test_a_single_file_can_be_judged(tmp_path: Path, capsys: Output) -> None:
    assert doctor(capsys, write(tmp_path, app=BAD) / "app.py")[0] == 1


def test_json_holds_all_fields_of_a_finding(tmp_path: Path, capsys: Output) -> None:
    (finding,) = as_json(capsys, write(tmp_path, app=BAD))["findings"]
    assert finding.keys() == {"rule", "severity", "path", "line", "column", "seen", "why", "edit"}
    assert (finding["rule"], finding["severity"], finding["path"], finding["line"], finding["column"]) == (
        "F04",
        "error",
        "app.py",
        4,
        7,
    )


def test_github_annotations_escape_what_ends_a_property(tmp_path: Path, capsys: Output) -> None:
    (tmp_path / "a,b:c%.py").write_text(BAD)
    _, printed = doctor(capsys, "--format", "github", tmp_path)
    assert "::error file=a%2Cb%3Ac%25.py,line=4,col=7,title=F04 configuration is read at import::the env" in printed
    assert "%0Awhy: " in printed


def test_a_hint_is_a_warning_on_github(tmp_path: Path, capsys: Output) -> None:
    assert "::warning file=app.py,line=4" in doctor(capsys, "--format", "github", write(tmp_path, app=HINT))[1]


@pytest.mark.parametrize(
    "text",
    [
        BAD.replace("\n\nKEY", "\n\n# crewyard: allow F04 because a test sets it first\nKEY"),
        BAD.replace("['KEY']", "['KEY']  # crewyard: allow F04 because a test sets it first"),
        BAD.replace("['KEY']", "[  # crewyard: allow F01, F04 because a test sets it first\n    'KEY'\n]"),
    ],
    ids=["above", "behind", "within the statement"],
)
def test_a_comment_with_a_reason_accepts_a_finding(tmp_path: Path, capsys: Output, text: str) -> None:
    report = as_json(capsys, write(tmp_path, app=text))
    assert [one["rule"] for one in report["findings"] if one["severity"] == "error"] == []
    assert [(one["rule"], one["reason"]) for one in report["accepted"]] == [("F04", "a test sets it first")]


def test_a_comment_without_a_reason_accepts_nothing(tmp_path: Path, capsys: Output) -> None:
    code, printed = doctor(capsys, write(tmp_path, app=BAD.replace("['KEY']", "['KEY']  # crewyard: allow F04")))
    assert code == 1
    assert "not accepted: the comment gives no reason" in printed


def test_a_comment_of_another_rule_accepts_nothing(tmp_path: Path, capsys: Output) -> None:
    text = BAD.replace("['KEY']", "['KEY']  # crewyard: allow F05 because it is not")
    found = as_json(capsys, write(tmp_path, app=text))["findings"]
    assert [(one["rule"], one["severity"]) for one in found] == [("F04", "error"), ("F05", "hint")]


def test_a_string_that_looks_like_the_comment_accepts_nothing(tmp_path: Path, capsys: Output) -> None:
    text = BAD.replace("['KEY']", "['KEY'], '# crewyard: allow F04 because it is a string'")
    assert doctor(capsys, write(tmp_path, app=text))[0] == 1


def test_a_comment_in_a_dockerfile_accepts_a_finding(tmp_path: Path, capsys: Output) -> None:
    (tmp_path / "Dockerfile").write_text(
        "# crewyard: allow F20 because the base image is ours\nFROM ours\nUSER app\nCMD python\n"
    )
    assert doctor(capsys, tmp_path)[0] == 0


def test_a_file_that_does_not_parse_is_named_and_the_others_are_judged(tmp_path: Path, capsys: Output) -> None:
    report = as_json(capsys, write(tmp_path, app=BAD, broken="import crewai\nprint 'x'\n"))
    assert [one["path"] for one in report["findings"]] == ["app.py"]
    assert [(one["path"], one["line"]) for one in report["not_read"]] == [("broken.py", 2)]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"x = 1\x00\n", "null bytes"),
        (b"# coding: nonsense\nx = 1\n", "nonsense"),
        (b"x = " + b"(" * 5_000 + b")" * 5_000, "nested"),
        (b"x = 1\n" * 1_800_000, "10,800,000 bytes"),
    ],
    ids=["null bytes", "unknown encoding", "nested", "10 MB"],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, capsys: Output, content: bytes, why: str) -> None:
    (tmp_path / "odd.py").write_bytes(content)
    (line,) = as_json(capsys, write(tmp_path, app=CREW))["not_read"]
    assert line["path"] == "odd.py"
    assert why in str(line["why"])


def test_deep_nesting_that_parses_ends_without_a_traceback(tmp_path: Path, capsys: Output) -> None:
    deep = "x = " + "+".join(["a"] * 20_000) + "\n" + "y = [" * 80 + "]" * 80 + "\nprint(x)\n"
    assert doctor(capsys, write(tmp_path, app=BAD, deep=deep))[0] == 1


def test_a_file_in_another_encoding_is_judged(tmp_path: Path, capsys: Output) -> None:
    (tmp_path / "app.py").write_bytes(("# coding: latin-1\n# \u00e9\n" + BAD).encode("latin-1"))
    assert doctor(capsys, tmp_path)[0] == 1


def test_links_are_not_followed(tmp_path: Path, capsys: Output) -> None:
    outside = tmp_path / "outside"
    project = tmp_path / "project"
    for place, text in ((outside, BAD), (project, CREW)):
        place.mkdir()
        write(place, app=text)
    (project / "loop").symlink_to(project, target_is_directory=True)
    (project / "self.py").symlink_to(project / "self.py")
    (project / "away").symlink_to(outside, target_is_directory=True)
    (project / "away.py").symlink_to(outside / "app.py")
    assert doctor(capsys, project) == (0, "0 errors, 0 hints in 1 file\n")


def test_an_unreadable_file_is_named(tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    write(tmp_path, app=CREW)
    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert as_json(capsys, tmp_path)["not_read"] == [{"path": "app.py", "line": 0, "why": "Permission denied"}]


def test_a_pipe_is_named_and_not_waited_for(tmp_path: Path, capsys: Output) -> None:
    os.mkfifo(write(tmp_path, app=CREW) / "pipe.py")
    (line,) = as_json(capsys, tmp_path)["not_read"]
    assert (line["path"], line["why"]) == ("pipe.py", "it is no regular file")


def test_what_stands_beside_a_dockerfile_is_not_waited_for(tmp_path: Path, capsys: Output) -> None:
    (write(tmp_path, app=CREW) / "Dockerfile").write_text(
        "FROM python:3.12\nCOPY . .\nRUN pip install -r requirements.txt\n"
    )
    os.mkfifo(tmp_path / ".gitignore")
    os.mkfifo(tmp_path / ".dockerignore")
    with (tmp_path / "requirements.txt").open("w") as file:
        file.truncate(2**31)
    (tmp_path / ".env").write_text("A=b\n")
    assert {finding["rule"] for finding in as_json(capsys, tmp_path)["findings"]} == {"F20", "F23"}


def test_a_directory_that_cannot_be_opened_is_named(
    tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    (write(tmp_path, app=CREW) / "closed").mkdir()
    listed = os.scandir

    def refused(place: str | os.PathLike[str]) -> object:
        if Path(place).name == "closed":
            raise PermissionError(13, "Permission denied", str(place))
        return listed(place)

    monkeypatch.setattr("os.scandir", refused)
    assert [one["why"] for one in as_json(capsys, tmp_path)["not_read"]] == ["Permission denied"]


def test_a_reader_that_goes_away_is_no_failure(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "crewyard", "doctor", str(write(tmp_path, app=BAD * 3000))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


def test_a_name_that_is_no_text_is_printed_escaped(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9.py")).write_text(BAD)
    command = [sys.executable, "-m", "crewyard", "doctor", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, check=False, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert (done.returncode, done.stderr) == (1, b"")
    assert b"udce9.py:4:7  F04 error" in done.stdout


def test_notebooks_are_counted_and_not_read(tmp_path: Path, capsys: Output) -> None:
    (tmp_path / "try.ipynb").write_text("{}")
    assert doctor(capsys, tmp_path) == (
        0,
        "1 notebook not read: try.ipynb\n"
        "no file that was read imports CrewAI or AutoGen: the rules about agents were left out\n"
        "0 errors, 0 hints in 0 files\n",
    )


def test_tests_environments_and_builds_are_not_judged(tmp_path: Path, capsys: Output) -> None:
    write(tmp_path, app=CREW, test_app=BAD, conftest=BAD)
    for name in (".venv", "tests", "node_modules", "build", ".hidden", "mine"):
        (tmp_path / name).mkdir()
        write(tmp_path / name, app=BAD)
    (tmp_path / "mine" / "pyvenv.cfg").write_text("")
    assert doctor(capsys, tmp_path) == (0, "0 errors, 0 hints in 1 file\n")


def test_a_project_without_a_framework_is_told_so_and_its_dockerfile_is_judged(tmp_path: Path, capsys: Output) -> None:
    (write(tmp_path, app="import os\nKEY = os.environ['KEY']\n") / "Dockerfile").write_text("FROM python\n")
    code, printed = doctor(capsys, tmp_path)
    assert code == 1
    assert "app.py" not in printed
    assert "no file that was read imports CrewAI or AutoGen" in printed


def test_an_environment_file_that_git_ignores_is_no_finding(tmp_path: Path, capsys: Output) -> None:
    write(tmp_path, app=CREW)
    (tmp_path / ".env").write_text("OPENAI_API_KEY=9f3b1c7d5e8a2046b1d3f5a7c9e0b2d4\n")
    assert doctor(capsys, tmp_path)[0] == 1
    (tmp_path / ".gitignore").write_text("*.log\n.env\n")
    assert doctor(capsys, tmp_path)[0] == 0


def test_without_ruff_the_rest_is_still_judged(tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crewyard.doctor.ruff.find_ruff_bin", lambda: "/nowhere/ruff")
    report = as_json(capsys, write(tmp_path, app=BAD + "import requests\n"))
    assert [one["rule"] for one in report["findings"]] == ["F04"]
    assert "ruff did not start" in str(report["not_read"][0]["why"])


def test_a_thousand_files_take_less_than_five_seconds(tmp_path: Path) -> None:
    function = "\n\nasync def work_{0}(topic: str) -> str:\n    values = [topic, str({0})]\n    return str(values)\n"
    text = BAD + "".join(function.format(number) for number in range(20))
    for number in range(1_000):
        (tmp_path / f"module_{number}.py").write_text(text)
    before = _seconds_of_children()
    done = subprocess.run([sys.executable, "-m", "crewyard", "doctor", tmp_path], capture_output=True, check=False)
    assert _seconds_of_children() - before < 5
    assert done.stdout.endswith(b"1,000 errors, 0 hints in 1,000 files\n")


def _seconds_of_children() -> float:
    """Of a processor, not of a clock: the machine may have other work."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_a_project_of_ours_has_no_error(render: Render, capsys: Output) -> None:
    code, printed = doctor(capsys, render())
    assert code == 0, printed
