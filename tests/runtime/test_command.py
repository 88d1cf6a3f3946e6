"""The command from outside: results on standard output, signals, and what is left when its process dies."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from crewyard_runtime.testing.model_server import ModelServer
from crewyard_runtime.testing.servers import Postgres
from crewyard_runtime.testing.service import new_database
from runtime.crews import ESCAPED

Start = Callable[..., "subprocess.Popen[str]"]
LEASE = 1
SECONDS = 90


@pytest.fixture
def start(server: ModelServer, tmp_path: Path, postgres: Postgres, empty_database: str) -> Iterator[Start]:
    """Start the command in a project that declares the misbehaving crews."""
    declared = tmp_path / "crews-1.0.dist-info"
    declared.mkdir()
    (declared / "METADATA").write_text("Metadata-Version: 2.1\nName: crews\nVersion: 1.0\n")
    (declared / "entry_points.txt").write_text("[crewyard.applications]\nworks = runtime.crews:works\n")
    (tmp_path / "platform.toml").write_text('framework = "crewai"\n')
    database_url = new_database(postgres.url, empty_database)
    started: list[subprocess.Popen[str]] = []

    def begin(*arguments: str, stdin: str = "", **environment: str) -> "subprocess.Popen[str]":
        known = {name: os.environ[name] for name in ("PATH", "HOME")}
        process = subprocess.Popen(
            [sys.executable, "-m", "crewyard_runtime", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env={
                **known,
                "PYTHONPATH": f"{tmp_path}{os.pathsep}{Path(__file__).parent.parent}",
                "OPENAI_API_KEY": "sk-of-the-test",
                "OPENAI_BASE_URL": server.url,
                "WRITABLE_DIR": str(tmp_path / "writable"),
                "LEASE_SECONDS": str(LEASE),
                "DATABASE_URL": database_url,
                "BROKER_URL": "redis://localhost:1/0",
                **environment,
            },
        )
        started.append(process)
        assert process.stdin is not None
        process.stdin.write(stdin)
        process.stdin.close()
        process.stdin = None
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def results(process: "subprocess.Popen[str]") -> tuple[int, list[dict[str, object]], str]:
    """Exit code, results and standard error."""
    out, err = process.communicate(timeout=120)
    return process.returncode, [json.loads(line) for line in out.splitlines()], err


def test_every_line_has_one_result_and_bad_ones_stop_nothing(start: Start) -> None:
    lines = ['{"mode": "work"}', "", "{broken", '{"mode": 7}', '{"mode": "work", "text": "日本語"}', "[]"]
    code, found, err = results(start("run", "--parallel", "2", stdin="\n".join(lines)))
    by_line = {result["line"]: result["status"] for result in found}
    assert by_line == {1: "succeeded", 3: "invalid", 4: "invalid", 5: "succeeded", 6: "invalid"}
    assert code == 1
    assert "[5/5]" in err
    assert "日本語" in str(next(result["output"] for result in found if result["line"] == 5))


def test_a_failed_run_tells_reason_run_and_chain(start: Start) -> None:
    code, found, err = results(start("run", '{"mode": "human"}'))
    assert code == 1
    error = found[0]["error"]
    assert isinstance(error, dict)
    assert error["chain"]
    assert error["reason"] in err
    assert str(found[0]["run_id"]) in err
    assert "build.started" in err


def test_without_its_tools_a_run_succeeds_that_a_tool_spoils(start: Start) -> None:
    code, found, _ = results(start("run", "--no-tools", '{"mode": "die"}'))
    assert (code, found[0]["status"]) == (0, "succeeded")


def test_a_kept_workspace_stays_and_is_named(start: Start) -> None:
    _, found, _ = results(start("run", "--keep", '{"mode": "write"}'))
    kept = Path(str(found[0]["workspace"]))
    assert (kept / "note.txt").read_text() == "x"
    results(start("run", '{"mode": "work"}'))
    assert kept.exists()


def test_a_wrong_use_is_refused(start: Start) -> None:
    assert results(start("run", "no-such-file.jsonl"))[0] == 2
    assert results(start("run", "--application", "other", "{}"))[0] == 2
    assert results(start("run", "--parallel", "0", "{}"))[0] == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_an_interrupt_leaves_no_process_and_no_directory(start: Start, tmp_path: Path, number: int) -> None:
    process, family, of_the_run = _at_work(start)
    process.send_signal(number)
    code, _, err = results(process)
    assert code == 130
    assert "interrupted" in err
    assert not _left(of_the_run, within=1)
    assert not _left(family, within=SECONDS), "the fork server takes a while to end"
    assert not list((tmp_path / "writable/runs").iterdir())


def test_after_kill_9_of_its_parent_a_run_ends(start: Start, server: ModelServer, tmp_path: Path) -> None:
    process, family, of_the_run = _at_work(start)
    process.kill()
    assert not _left(of_the_run, within=LEASE + 1)
    assert not _left(family, within=SECONDS), "the fork server takes a while to end"
    calls = len(server.requests)
    results(start("run", '{"mode": "work"}'))
    assert len(list((tmp_path / "writable/runs").iterdir())) == 0, "the next start clears what is left"
    assert len(server.requests) == calls + 2


def test_while_its_parent_is_stopped_a_run_ends(start: Start) -> None:
    process, _, of_the_run = _at_work(start)
    process.send_signal(signal.SIGSTOP)
    try:
        assert not _left(of_the_run, within=LEASE + 1)
    finally:
        process.send_signal(signal.SIGCONT)
    code, found, _ = results(process)
    assert code == 1
    assert found[0]["status"] == "failed"


def _at_work(start: Start) -> "tuple[subprocess.Popen[str], list[psutil.Process], list[psutil.Process]]":
    """A command whose run hangs in a tool, with every process below it, and those of the run alone."""
    process = start("run", '{"mode": "sleep"}')
    parent, deadline = psutil.Process(process.pid), time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        family = parent.children(recursive=True)
        time.sleep(0.02)
        if any("sleep" in _command(each) and ESCAPED in _command(each) for each in family):
            of_the_run = [each for each in family if _session(each) != _session(parent)]
            assert of_the_run
            return process, family, of_the_run
    pytest.fail("the run never reached its tool")


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


def _session(process: psutil.Process) -> int:
    return os.getsid(process.pid)


def _left(family: list[psutil.Process], within: float) -> list[psutil.Process]:
    """Who of these still runs after so many seconds; returns as soon as nobody does."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if not (alive := [each for each in family if _runs(each)]):
            return []
        time.sleep(0.02)
    return alive


def _runs(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
