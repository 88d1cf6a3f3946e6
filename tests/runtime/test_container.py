"""What a container asks of its processes: the duties of the first one, a sign of life, a server that others reach."""

import os
import pty
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from crewyard_runtime import alive
from crewyard_runtime.testing.service import Service, until

NAMESPACE = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
# Root without capabilities is to another process of root what an image's user is to its own.
WITHOUT_RIGHTS = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")
TAKE_DUTIES = "from crewyard_runtime.first_process import take_duties; take_duties()\n"
SECONDS = 20
TELLS_SIGNALS = """
import signal
told = {signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1}
signal.pthread_sigmask(signal.SIG_BLOCK, told)
print("ready", flush=True)
number = None
while number != signal.SIGUSR1:
    number = signal.sigwait(told)
    print(signal.Signals(number).name, flush=True)
while late := signal.sigtimedwait(told, 0.2):
    print(signal.Signals(late.si_signo).name, flush=True)
"""
LEAVES_AN_ORPHAN = """
import os, time
read, write = os.pipe()
if os.fork() == 0:
    if os.fork() == 0:
        os.write(write, str(os.getpid()).encode())
        os._exit(0)
    os._exit(0)
os.wait()
orphan, late = int(os.read(read, 10)), time.monotonic() + 5
while os.path.exists(f"/proc/{orphan}"):
    if time.monotonic() > late:
        raise SystemExit(open(f"/proc/{orphan}/status").read())
    time.sleep(0.01)
"""
LOOKS_AT_THE_FIRST = """
import subprocess
for place in ("environ", "mem", "root/"):
    subprocess.run(["ls" if place == "root/" else "cat", f"/proc/1/{place}"])
"""
TELLS_ITS_NUMBER = """
import os, sys
from crewyard_runtime.cli import command, main
command.run_command = lambda: sys.exit(os.getpid() + 40)
main()
"""


class FirstProcess:
    """A script that is process 1 of a new PID namespace; with a terminal of its own, if one is given to it."""

    def __init__(self, script: str, *before: str, stdin: int = subprocess.DEVNULL, **environment: str) -> None:
        self._outer = subprocess.Popen(
            [*NAMESPACE, *before, sys.executable, "-c", script],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, **environment},
        )

    def until_said(self, line: str) -> None:
        """Wait for the next line, which must be this one."""
        assert self._outer.stdout is not None
        assert self._outer.stdout.readline().strip() == line

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the first process, as a container's engine does."""
        [first] = psutil.Process(self._outer.pid).children()
        first.send_signal(number)

    def end(self) -> tuple[int, str, str]:
        """Wait for its end: its exit code, what else it has said, and its errors."""
        said, errors = self._outer.communicate(timeout=SECONDS)
        return self._outer.returncode, said, errors

    def kill(self) -> None:
        """End the whole namespace."""
        self._outer.kill()
        self._outer.communicate()


@pytest.fixture
def first() -> Iterator[Any]:
    """Starts first processes, and ends them with the test."""
    if shutil.which("unshare") is None:
        pytest.skip("a PID namespace is made by unshare (util-linux), which is not here")
    tried = subprocess.run([*NAMESPACE, "true"], capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        pytest.skip(f"a PID namespace needs the rights of root: {tried.stderr.strip()}")
    started: list[FirstProcess] = []

    def start(script: str, *before: str, **options: Any) -> FirstProcess:
        started.append(FirstProcess(script, *before, **options))
        return started[-1]

    yield start
    for process in started:
        process.kill()


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ("import sys; sys.exit(0)", 0),
        ("import sys; sys.exit(78)", 78),
        ("import os; os.kill(os.getpid(), 9)", 128 + 9),
        ("import os; os.kill(os.getpid(), 15)", 128 + 15),
    ],
)
def test_it_ends_as_the_command_does(first: Any, end: str, code: int) -> None:
    assert first(TAKE_DUTIES + end).end()[0] == code


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT], ids=lambda each: each.name)
def test_it_passes_a_signal_on_once(first: Any, number: signal.Signals) -> None:
    process = first(TAKE_DUTIES + TELLS_SIGNALS)
    process.until_said("ready")
    process.signal(number)
    process.until_said(number.name)
    process.signal(signal.SIGUSR1)
    assert process.end() == (0, "SIGUSR1\n", "")


def test_ctrl_c_comes_once(first: Any) -> None:
    terminal, its = pty.openpty()
    process = first(TAKE_DUTIES + TELLS_SIGNALS, "setsid", "--ctty", stdin=its)
    process.until_said("ready")
    for _ in range(5):  # two that come at the same moment may look like one
        os.write(terminal, b"\x03")
        process.until_said("SIGINT")
    process.signal(signal.SIGUSR1)
    assert process.end() == (0, "SIGUSR1\n", "")
    os.close(its)
    os.close(terminal)


def test_a_terminal_that_is_not_its_own_is_left_alone(first: Any) -> None:
    terminal, its = pty.openpty()
    assert first(TAKE_DUTIES + "print('done')", stdin=its).end() == (0, "done\n", "")
    os.close(its)
    os.close(terminal)


def test_it_buries_an_orphan(first: Any) -> None:
    assert first(TAKE_DUTIES + LEAVES_AN_ORPHAN).end() == (0, "", "")


def test_nobody_looks_into_it(first: Any) -> None:
    if shutil.which("setpriv") is None:
        pytest.skip("root reads every process, and setpriv (util-linux), which would take that away, is not here")
    code, said, errors = first(TAKE_DUTIES + LOOKS_AT_THE_FIRST, *WITHOUT_RIGHTS, A_SECRET="sesame").end()
    assert (code, said) == (0, "")
    assert errors.count("Permission denied") == 3, errors


def test_the_command_is_never_the_first_process(first: Any) -> None:
    assert first(TELLS_ITS_NUMBER).end()[0] == 42


def healthy(file: Path | None) -> tuple[int, str]:
    """What the health check of a container sees: an exit code and a sentence."""
    done = subprocess.run(
        [sys.executable, "-m", "crewyard_runtime", "healthy"],
        env={"PATH": os.environ["PATH"], **({"ALIVE_FILE": str(file)} if file else {})},
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )
    assert done.stdout == ""
    return done.returncode, done.stderr.strip()


def test_without_a_file_nothing_is_healthy() -> None:
    code, said = healthy(None)
    assert code == 1
    assert said.startswith("ALIVE_FILE is not set")


def test_before_the_first_sign_nothing_is_healthy(tmp_path: Path) -> None:
    file = tmp_path / "alive"
    assert healthy(file) == (
        1,
        f"No gateway and no worker has given a sign of life yet: {file}: No such file or directory.",
    )


@pytest.mark.parametrize(("age", "code"), [(0, 0), (alive.LATE_SECONDS - 20, 0), (alive.LATE_SECONDS + 20, 1)])
def test_a_sign_is_good_for_a_minute(tmp_path: Path, age: float, code: int) -> None:
    file = tmp_path / "alive"
    file.touch()
    os.utime(file, (time.time() - age,) * 2)
    found, said = healthy(file)
    assert found == code
    assert bool(said) == bool(code)


def test_a_sign_that_cannot_be_given_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("ALIVE_FILE", "/dev/null/alive")
    alive.sign()
    assert caplog.messages == ["no sign of life can be given: /dev/null/alive: Not a directory"]


@pytest.fixture(scope="module")
def signs(services: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """The files of a gateway and of a worker whose first sign is long ago."""
    place = tmp_path_factory.mktemp("signs")
    files = {name: place / name for name in ("worker", "gateway")}
    service: Service
    with services() as service:
        service.variables["ALIVE_FILE"] = str(files["worker"])
        worker = service.start_worker(ready=False)
        service.variables["ALIVE_FILE"] = str(files["gateway"])
        service.start_api()
        for name, file in files.items():
            until(f"the first sign of the {name} ({service.log(worker)})", file.exists)
            os.utime(file, (0, 0))
        yield files


@pytest.mark.parametrize("name", ["worker", "gateway"])
def test_a_sign_is_given_again_and_again(signs: dict[str, Path], name: str) -> None:
    until("another sign", lambda: signs[name].stat().st_mtime > 0, alive.SECONDS + 10)
    assert healthy(signs[name]) == (0, "")


@pytest.mark.parametrize(("host", "reached"), [((), False), (("--host", "0.0.0.0"), True)], ids=str)
def test_the_model_server_is_reached_from_elsewhere_if_it_is_told(host: tuple[str, ...], reached: bool) -> None:
    if sys.platform != "linux":
        pytest.skip("only Linux has all of 127.0.0.0/8 as addresses of the machine")
    server = subprocess.Popen(
        [sys.executable, "-m", "crewyard_runtime.testing.model_server", *host], stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        port = int(server.stdout.readline().rpartition(":")[2].partition("/")[0])
        with socket.socket() as probe:
            assert (probe.connect_ex(("127.0.0.2", port)) == 0) == reached
        server.terminate()
        assert server.wait(SECONDS) == 0
    finally:
        server.kill()
        server.wait()
