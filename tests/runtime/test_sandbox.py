"""The sandboxes: hostile code harms nobody, ordinary code works; the same cases in a container and on this machine."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import tracemalloc
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psutil
import pytest
from crewyard_runtime import Application
from crewyard_runtime.context import RunContext, deadline_after
from crewyard_runtime.execution import Outcome, Runner, RunRequest
from crewyard_runtime.limits import RunLimits
from crewyard_runtime.sandbox import Execution, NoSandbox, Sandbox, SandboxDown, open_sandbox
from crewyard_runtime.sandbox import problems as problems_module
from crewyard_runtime.sandbox.output import BoundedText
from crewyard_runtime.sandbox.problems import daemon_problems, setting_problems
from crewyard_runtime.settings import RuntimeSettings
from pydantic import ValidationError
from runtime import coding
from runtime.conftest import own_fork_server
from runtime.docker_daemon import IMAGE, docker, docker_daemon, reason_against
from runtime.orders import make_project, start

Kind = Literal["docker", "local"]
KINDS = ["docker", "local"]
SECRET = "planted-9c1f77e2"
PATIENCE = 20  # seconds, after which a test that waits gives up
SMALL = {"code_seconds": 5, "code_memory_mb": 128, "code_processes": 24, "code_disk_mb": 8}
GONE = "The files of earlier executions are gone."
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@dataclass
class Machine:
    """Opens sandboxes of one kind, each for a run of its own, and closes them all."""

    kind: Kind
    settings: RuntimeSettings
    place: Path
    opened: list[Sandbox]

    def open(self, deadline_seconds: float = 120, **limits: Any) -> Sandbox:
        """A sandbox with small limits."""
        workspace = self.place / uuid.uuid4().hex
        workspace.mkdir(mode=0o700)
        bounds = RunLimits(**{**SMALL, **limits})
        self.opened.append(open_sandbox(self.settings, bounds, workspace, deadline_after(deadline_seconds)))
        return self.opened[-1]


@pytest.fixture(scope="session")
def daemon() -> Iterator[str]:
    """A Docker daemon of the tests' own."""
    if reason := reason_against():
        pytest.skip(f"no Docker daemon on this machine: {reason}")
    with docker_daemon() as url:
        yield url


def settings_for(kind: Literal["none", "docker", "local"], **others: Any) -> RuntimeSettings:
    return RuntimeSettings(code_execution=kind, code_image=IMAGE, **others)


@pytest.fixture
def docker_machine(daemon: str, tmp_path: Path) -> Iterator[Machine]:
    machine = Machine("docker", settings_for("docker", docker_host=daemon), tmp_path, [])
    yield machine
    for sandbox in machine.opened:
        sandbox.close()


@pytest.fixture
def local_machine(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine("local", settings_for("local"), tmp_path, [])
    yield machine
    for sandbox in machine.opened:
        sandbox.close()


@pytest.fixture(params=KINDS)
def machine(request: pytest.FixtureRequest) -> Machine:
    found: Machine = request.getfixturevalue(f"{request.param}_machine")
    return found


@pytest.fixture
def sandbox(machine: Machine) -> Sandbox:
    return machine.open()


def processes_with(mark: str) -> list[psutil.Process]:
    """The processes whose command line has this mark; those in containers of this machine's daemon too."""
    found = []
    for process in psutil.process_iter():
        try:
            if any(mark in argument for argument in process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def until(reached: Callable[[], Any]) -> None:
    end = time.monotonic() + PATIENCE
    while not reached():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.02)


ORDINARY = {
    "an output": ("print(6 * 7)", "python", 0, "42\n"),
    "an exit code": ("raise SystemExit(3)", "python", 3, ""),
    "both streams in their order": (
        "import sys\nprint(1, flush=True)\nprint(2, file=sys.stderr)\nprint(3)",
        "python",
        0,
        "1\n2\n3\n",
    ),
    "bytes that are no text": ("import sys\nsys.stdout.buffer.write(b'a\\xffb')", "python", 0, "a\ufffdb"),
    "half a character": ("print('\ud800 is half')", "python", 0, "? is half\n"),
    "a script of sh": ("echo $((6 * 7)); exit 4", "sh", 4, "42\n"),
    "a script of bash": ("cat; echo done", "bash", 0, "done\n"),
    "a script of a shell": ("pwd >/dev/null && echo $HOME >/dev/null && echo ok", "shell", 0, "ok\n"),
    "a module of the library": ("import json\nprint(json.dumps([1]))", "python", 0, "[1]\n"),
    "a temporary file": (
        "import tempfile\nwith tempfile.NamedTemporaryFile('w') as f: print(open(f.name).read() + 'empty')",
        "python",
        0,
        "empty\n",
    ),
}


@pytest.mark.parametrize(("code", "language", "exit_code", "output"), ORDINARY.values(), ids=ORDINARY)
def test_ordinary_code_works(sandbox: Sandbox, code: str, language: str, exit_code: int, output: str) -> None:
    assert sandbox.execute(code, language) == Execution(exit_code=exit_code, output=output, timed_out=False)


def test_a_traceback_comes_back_with_its_lines(sandbox: Sandbox) -> None:
    execution = sandbox.execute("x = 0\n1 / x")
    assert execution.exit_code == 1
    assert "line 2, in <module>\n    1 / x" in execution.output
    assert execution.output.endswith("ZeroDivisionError: division by zero\n")


def test_code_that_reads_its_input_finds_none(sandbox: Sandbox) -> None:
    assert sandbox.execute("input()").output.endswith("EOFError: EOF when reading a line\n")


def test_another_language_is_answered_with_those_that_there_are(sandbox: Sandbox) -> None:
    execution = sandbox.execute("puts 1", "ruby")
    assert execution.exit_code == 2
    assert execution.output == "[Code in 'ruby' is not executed here; there is python, sh, bash, shell.]"


def test_two_executions_share_their_files(sandbox: Sandbox) -> None:
    sandbox.execute("open('found', 'w').write('it')")
    assert sandbox.execute("cat found", "sh").output == "it"


def test_two_runs_do_not_share_their_files(machine: Machine) -> None:
    first, second = machine.open(), machine.open()
    place = first.execute("import os; open('mine', 'w').write('it'); print(os.getcwd())").output.strip()
    read = second.execute(f"import os; print(os.path.exists('mine')); print(open('{place}/mine').read())")
    if machine.kind == "local" and os.geteuid() != 0:
        assert read.output.startswith("False\n")  # one user, who reads everywhere: for development
        return
    assert read.output.startswith("False\n")
    assert read.exit_code == 1
    assert re.search("(Permission|FileNotFound)Error", read.output)


def test_two_threads_are_served_one_after_the_other(sandbox: Sandbox) -> None:
    code = "import os, time\nos.mkdir('busy')\ntime.sleep(0.3)\nos.rmdir('busy')"
    with ThreadPoolExecutor(3) as pool:
        executions = list(pool.map(sandbox.execute, [code] * 3))
    assert [(each.exit_code, each.output) for each in executions] == [(0, "")] * 3


FORKS = "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass"
ENDLESS = {
    "never ends": "while True: pass",
    "sleeps": "import time\ntime.sleep(1e6)",
    "forks without end": FORKS,
    "forks without end in the shell": "bomb() { bomb | bomb & }\nbomb\nwhile true; do :; done",
    "hears no signal": "import signal, time\nfor n in (1, 2, 3, 15): signal.signal(n, signal.SIG_IGN)\ntime.sleep(1e6)",
}


@pytest.mark.parametrize("code", ENDLESS.values(), ids=ENDLESS)
def test_what_never_ends_is_killed_and_the_next_execution_works(machine: Machine, code: str) -> None:
    sandbox = machine.open(code_seconds=1.5)
    started = time.monotonic()
    execution = sandbox.execute(code, "sh" if code.startswith("bomb") else "python")
    assert execution.timed_out
    assert execution.exit_code == 137
    assert "[Killed: it took longer than 1.5 seconds." in execution.output
    assert time.monotonic() - started < 6
    assert sandbox.execute("print('goes on')").output == "goes on\n"


def test_no_more_processes_than_allowed_go_on_at_once(sandbox: Sandbox) -> None:
    code = (
        "import os, time\nn = 0\ntry:\n    while n < 200:\n"
        "        if os.fork() == 0:\n            time.sleep(60)\n        n += 1\nexcept OSError: pass\n"
        "print(n, flush=True)\nos.kill(0, 9)"
    )
    assert 5 < int(sandbox.execute(code).output.split()[0]) < SMALL["code_processes"]


def test_processes_left_over_do_not_hold_up_the_next_execution(sandbox: Sandbox) -> None:
    code = (
        "import os, time\nfor _ in range(200):\n    try:\n        if os.fork() == 0:\n"
        "            os.setsid()\n            os.closerange(0, 3)\n            time.sleep(60)\n"
        "            os._exit(0)\n    except OSError: break"
    )
    assert sandbox.execute(code).exit_code == 0
    after = sandbox.execute("print('goes on')")
    assert after.exit_code == 0
    assert after.output.removeprefix(f"[{GONE}]\n") == "goes on\n"


FULL = {
    "one big file": "f = open('big', 'wb')\nwhile True:\n    f.write(bytes(1_000_000)); f.flush()",
    "many files": "n = 0\nwhile True:\n    open(str(n), 'w').write('x')\n    n += 1",
    "many files of nothing": "n = 0\nwhile True:\n    open(str(n), 'w')\n    n += 1",
    "many directories": "import os\nn = 0\nwhile True:\n    os.mkdir('d'); os.chdir('d')",
}


@pytest.mark.parametrize("code", FULL.values(), ids=FULL)
def test_code_that_fills_the_disk_fails_and_the_next_execution_works(machine: Machine, code: str) -> None:
    sandbox = machine.open()
    execution = sandbox.execute(code)
    assert execution.exit_code != 0
    assert not execution.timed_out
    assert sandbox.execute("print('goes on')").output.endswith("goes on\n")
    if "mkdir" in code:
        return
    measure = (
        "import os\nprint(sum(os.lstat(os.path.join(at, name)).st_blocks * 512"
        " for at, directories, files in os.walk('.') for name in files))"
    )
    assert int(sandbox.execute(measure).output.split()[-1]) <= SMALL["code_disk_mb"] * 1_048_576


def test_memory_has_an_end(machine: Machine) -> None:
    sandbox = machine.open()
    execution = sandbox.execute("held = []\nwhile True: held.append(bytearray(1_000_000))")
    assert execution.exit_code != 0
    assert not execution.timed_out
    assert ("MemoryError" if machine.kind == "local" else "128 MB of memory") in execution.output
    assert sandbox.execute("print('goes on')").output.endswith("goes on\n")


def test_of_what_is_printed_without_end_the_beginning_and_the_end_are_kept(machine: Machine) -> None:
    sandbox = machine.open(code_seconds=1.5)
    tracemalloc.start()
    execution = sandbox.execute("n = 0\nwhile True:\n    print(n)\n    n += 1")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert execution.timed_out
    assert execution.output.startswith("0\n1\n2\n")
    assert re.search(r"\n\[\d{6,} characters were cut here\.\]\n", execution.output)
    assert len(execution.output) <= 20_000
    assert peak < 2_000_000


def test_a_long_output_loses_only_its_middle() -> None:
    text = BoundedText()
    whole = "".join(f"{number:06} ä\n" for number in range(100_000))
    encoded = whole.encode()
    for first in range(0, len(encoded), 997):
        text.add(encoded[first : first + 997])
    head, cut, tail = re.split(r"\n\[(\d+) characters were cut here\.\]\n", text.text())
    assert whole.startswith(head)
    assert whole.endswith(tail)
    assert len(head) + int(cut) + len(tail) == len(whole)
    assert len(head) == 10_000
    assert len(tail) == 9_500


@pytest.mark.parametrize("length", [0, 1, 10_000, 19_500])
def test_a_short_output_is_whole(length: int) -> None:
    text = BoundedText()
    text.add(b"x" * length)
    assert text.text() == "x" * length


READ_ALL = f"""
import glob
readable, held = 0, False
for name in glob.glob("/proc/[0-9]*/environ") + glob.glob("/proc/self/environ"):
    try:
        data = open(name, "rb").read()
    except OSError:
        continue
    readable += 1
    held |= ({SECRET[:5]!r} + {SECRET[5:]!r}).encode() in data
print(readable > 0, held)
"""


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A secret in our own environment, and in that of a process of ours."""
    monkeypatch.setenv("MODEL_KEY", SECRET)
    with subprocess.Popen(["sleep", "600"]) as process:
        until(lambda: SECRET.encode() in Path(f"/proc/{process.pid}/environ").read_bytes())
        yield
        process.kill()


@needs_root
@pytest.mark.usefixtures("planted")
def test_no_environment_of_ours_can_be_read(sandbox: Sandbox) -> None:
    assert sandbox.execute(READ_ALL).output == "True False\n"


@pytest.mark.usefixtures("planted")
def test_the_code_starts_with_an_environment_that_has_no_variable_of_ours(machine: Machine) -> None:
    execution = machine.open().execute("import os\nprint(*sorted(os.environ))")
    allowed = {"HOME", "LANG", "LC_CTYPE", "PATH", "TMPDIR", "HOSTNAME", "PWD"}
    assert set(execution.output.split()) <= allowed


@needs_root
def test_nothing_is_written_outside_of_its_directory(machine: Machine) -> None:
    code = (
        "for place in ('../x', '/x', '/etc/x', '/usr/x', '/proc/sys/kernel/x', '/proc/1/x'):\n"
        "    try:\n        open(place, 'w')\n        print('written', place)\n"
        "    except OSError: pass\n"
        "import os\n"
        "for place in ('..', '/root'):\n"
        "    try:\n        os.rename('.code', place + '/x')\n        print('moved', place)\n"
        "    except OSError: pass"
    )
    assert machine.open().execute(code) == Execution(exit_code=0, output="")


@needs_root
def test_as_root_local_code_sees_nothing_of_its_runs_workspace(local_machine: Machine) -> None:
    sandbox = local_machine.open()
    (next(local_machine.place.iterdir()) / "input").write_text("of the run")
    execution = sandbox.execute("open('../input')")
    assert "PermissionError" in execution.output


@pytest.fixture
def port() -> Iterator[int]:
    """A port of this machine that listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


CONNECT = "import socket\nsocket.create_connection(({!r}, {}), timeout=2)\nprint('connected')"


@pytest.mark.parametrize("address", ["127.0.0.1", "192.0.2.1", "169.254.169.254"])
def test_in_a_container_there_is_no_network(docker_machine: Machine, port: int, address: str) -> None:
    execution = docker_machine.open().execute(CONNECT.format(address, port))
    assert execution.exit_code == 1
    assert re.search("Network is unreachable|Connection refused", execution.output)


def test_a_container_has_no_network_but_its_own_loopback(docker_machine: Machine) -> None:
    execution = docker_machine.open().execute("import socket\nprint([name for _, name in socket.if_nameindex()])")
    assert execution.output == "['lo']\n"


def test_a_container_is_started_with_every_lock(docker_machine: Machine, daemon: str) -> None:
    """Where this daemon has nothing to lock away (it has no network to give), what it was asked for counts."""
    docker_machine.open().execute("print(1)")
    told = json.loads(docker(daemon, "inspect", docker(daemon, "ps", "--quiet")))[0]
    locks = {
        "NetworkMode": "none",
        "ReadonlyRootfs": True,
        "CapDrop": ["ALL"],
        "CapAdd": None,
        "Privileged": False,
        "SecurityOpt": ["no-new-privileges"],
        "Memory": 128 * 1_048_576,
        "MemorySwap": 128 * 1_048_576,
        "PidsLimit": 24,
        "NanoCpus": 1_000_000_000,
        "Binds": None,
        "AutoRemove": True,
    }
    assert {name: told["HostConfig"][name] for name in locks} == locks
    assert told["Mounts"] == []
    assert told["Config"]["User"] == "65533:65533"


def test_local_code_has_the_network_as_its_docstring_says(local_machine: Machine, port: int) -> None:
    assert local_machine.open().execute(CONNECT.format("127.0.0.1", port)).output == "connected\n"
    from crewyard_runtime.sandbox import local

    assert "the network is open" in str(local.__doc__)


DAEMON = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.closerange(0, 3)
        os.execv({python}, ["python", "-c", "import time; time.sleep(600)", "{mark}"])
    os._exit(0)
os.wait()
"""


def leave_daemon(sandbox: Sandbox, mark: str) -> None:
    code = DAEMON.format(python="sys.executable", mark=mark)
    assert sandbox.execute(code) == Execution(exit_code=0, output="")


def test_a_daemon_that_local_code_leaves_behind_is_gone_when_it_ends(local_machine: Machine) -> None:
    mark = uuid.uuid4().hex
    leave_daemon(local_machine.open(), mark)
    assert not processes_with(mark)


def test_a_daemon_that_code_in_a_container_leaves_behind_is_gone_after_close(docker_machine: Machine) -> None:
    sandbox, mark = docker_machine.open(), uuid.uuid4().hex
    leave_daemon(sandbox, mark)
    until(lambda: processes_with(mark))
    sandbox.close()
    assert not processes_with(mark)


def test_after_close_there_is_no_container(docker_machine: Machine, daemon: str) -> None:
    sandbox = docker_machine.open()
    sandbox.execute("print(1)")
    run = next(docker_machine.place.iterdir()).name
    assert docker(daemon, "ps", "--quiet", "--filter", f"label=crewyard.run={run}")
    sandbox.close()
    assert not docker(daemon, "ps", "--all", "--quiet", "--filter", f"label=crewyard.run={run}")


def test_a_container_ends_by_itself_at_the_deadline(docker_machine: Machine, daemon: str) -> None:
    docker_machine.open(deadline_seconds=1).execute("print(1)")
    run = next(docker_machine.place.iterdir()).name
    until(lambda: not docker(daemon, "ps", "--all", "--quiet", "--filter", f"label=crewyard.run={run}"))


def test_code_cannot_end_the_container_or_keep_it_from_its_end(docker_machine: Machine) -> None:
    sandbox = docker_machine.open()
    code = (
        "import glob, os\nopen('kept', 'w').write('it')\n"
        "others = {int(name[6:]) for name in glob.glob('/proc/[0-9]*')} - {os.getpid()}\n"
        "for process in others:\n    for number in (19, 9):\n"
        "        try:\n            os.kill(process, number)\n            print('ended', process)\n"
        "        except OSError: pass"
    )
    assert sandbox.execute(code) == Execution(exit_code=0, output="")
    assert sandbox.execute("print(open('kept').read())").output == "it\n"


def test_a_container_has_no_capability_and_gets_none(docker_machine: Machine) -> None:
    said = docker_machine.open().execute("print(open('/proc/self/status').read())").output
    assert set(re.findall(r"Cap\w+:\s+(\w+)", said)) == {"0" * 16}
    assert "NoNewPrivs:\t1" in said
    assert "Seccomp:\t2" in said


def test_an_execution_that_is_going_on_ends_when_the_sandbox_is_closed(machine: Machine) -> None:
    sandbox, mark = machine.open(code_seconds=60), uuid.uuid4().hex
    started = time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        code = f"import os, sys\nos.execv(sys.executable, ['python', '-c', 'import time; time.sleep(600)', '{mark}'])"
        going = pool.submit(sandbox.execute, code)
        until(lambda: processes_with(mark))
        sandbox.close()
        with pytest.raises(SandboxDown, match=r"^The run is over, and executes no more code\.$"):
            going.result(PATIENCE)
    assert not processes_with(mark)
    assert time.monotonic() - started < PATIENCE


def test_a_closed_sandbox_executes_nothing(machine: Machine) -> None:
    sandbox = machine.open()
    sandbox.close()
    sandbox.close()
    with pytest.raises(SandboxDown, match="The run is over"):
        sandbox.execute("print(1)")


def test_a_project_without_a_sandbox_says_which_setting_gives_one(tmp_path: Path) -> None:
    sandbox = open_sandbox(settings_for("none"), RunLimits(), tmp_path, deadline_after(60))
    with pytest.raises(NoSandbox, match=r"^This project executes no code: set CODE_EXECUTION=docker and DOCKER_HOST"):
        sandbox.execute("print(1)")
    sandbox.close()


DOWN = {
    "no daemon is named": ({"docker_host": None}, "The sandbox has no daemon: DOCKER_HOST is not set."),
    "the daemon is away": ({"docker_host": "unix:///nowhere/docker.sock"}, "Cannot connect to the Docker daemon at"),
}


@pytest.mark.parametrize(("settings", "sentence"), DOWN.values(), ids=DOWN)
def test_without_its_daemon_nothing_is_executed_anywhere(
    tmp_path: Path, settings: dict[str, Any], sentence: str
) -> None:
    proof = tmp_path / "executed"
    sandbox = open_sandbox(settings_for("docker", **settings), RunLimits(), tmp_path, deadline_after(60))
    with pytest.raises(SandboxDown, match=re.escape(sentence)):
        sandbox.execute(f"touch {proof}", "sh")
    assert not proof.exists()


def test_an_image_that_is_not_there_is_not_pulled(docker_machine: Machine) -> None:
    docker_machine.settings = docker_machine.settings.model_copy(update={"code_image": "python:3.99.0-nowhere"})
    with pytest.raises(SandboxDown, match=r"executes nothing now: .*python:3\.99\.0-nowhere"):
        docker_machine.open().execute("print(1)")


def test_a_container_that_is_gone_is_replaced_and_the_output_says_so(docker_machine: Machine, daemon: str) -> None:
    sandbox = docker_machine.open()
    sandbox.execute("open('kept', 'w')")
    run = next(docker_machine.place.iterdir()).name
    docker(daemon, "rm", "--force", docker(daemon, "ps", "--quiet", "--filter", f"label=crewyard.run={run}"))
    execution = sandbox.execute("import os\nprint(os.path.exists('kept'))")
    assert execution == Execution(exit_code=0, output=f"[{GONE}]\nFalse\n")


NOT_ROOT = """
import json, sys
from pathlib import Path
from crewyard_runtime.limits import RunLimits
from crewyard_runtime.sandbox.local import LocalSandbox
workspace = Path(sys.argv[1])
sandbox = LocalSandbox(RunLimits(code_seconds=1.5, code_processes=24, code_disk_mb=8), workspace)
print(json.dumps([sandbox.execute(code).model_dump() for code in json.loads(sys.argv[2])]))
"""


USER = 12_345


def as_user(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Call Python as a user who is not root, with this environment's packages."""
    variables = {"PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(filter(None, sys.path)), "MODEL_KEY": SECRET}
    become = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"]
    for python in (sys.executable, "/usr/bin/python3"):  # the first one may be in root's home
        command = [*become, python, "-B", "-c"]
        tried = "import os, sys, crewyard_runtime\nassert os.access(sys.executable, os.X_OK)"
        if subprocess.run([*command, tried], env=variables, capture_output=True, check=False).returncode == 0:
            return subprocess.run(
                [*command, *arguments], env=variables, capture_output=True, text=True, check=False, timeout=PATIENCE
            )
    return pytest.skip("no other user can execute this Python")


@needs_root
def test_who_is_not_root_executes_code_as_themselves_and_nothing_of_it_is_left() -> None:
    mark = uuid.uuid4().hex
    codes = [
        "import os\nprint(os.getuid())",
        DAEMON.format(python="sys.executable", mark=mark),
        FORKS,
        "print(1)",
        READ_ALL,
        "import os\nos.mkdir('d')\nopen('d/f', 'wb').write(bytes(9_000_000))\nos.chmod('d', 0)",
        "print(2)",
    ]
    # Not in pytest's directory, which other users cannot enter.
    place = Path(tempfile.mkdtemp(prefix="sandbox-", dir="/tmp"))
    try:
        os.chown(place, USER, USER)
        done = as_user(NOT_ROOT, str(place), json.dumps(codes))
    finally:
        shutil.rmtree(place)
    assert done.returncode == 0, done.stderr
    who, left, forks, after, environments, hidden, last = (Execution(**each) for each in json.loads(done.stdout))
    assert who.output == f"{USER}\n"
    assert left.exit_code == 0
    assert forks.timed_out
    assert after.output == "1\n"
    assert environments.output == "True False\n"
    assert "all of them are gone" in hidden.output
    assert last.output == "2\n"
    assert not processes_with(mark)


@pytest.mark.parametrize(
    "image",
    [
        "python:3.12.12-slim-bookworm",
        "images.example.org:5000/team/python:v3.12.1",
        f"python@sha256:{'0a' * 32}",
        f"sha256:{'0a' * 32}",
    ],
)
def test_a_pinned_image_is_taken(image: str) -> None:
    assert RuntimeSettings(code_image=image).code_image == image


@pytest.mark.parametrize(
    "image",
    [
        *("python", "python:latest", "python:3", "python:3.12", "python:3.12-slim", "images.example.org:5000/python"),
        *("10.0.0.1/python", "python@sha256:0a", f"sha256:{'0a' * 31}", "--privileged:1.2.3", ""),
    ],
)
def test_an_image_that_may_change_is_refused_with_what_to_type(image: str) -> None:
    with pytest.raises(ValidationError, match=r"is not pinned: give its tag the whole version, like python:3\.12\.12"):
        RuntimeSettings(code_image=image)


def found(settings: RuntimeSettings, production: bool = False) -> list[str]:
    """The sentences about the settings."""
    return [f"{name} {problem}" for name, problem, _ in setting_problems(settings, production)]


@needs_root
def test_a_socket_that_was_mounted_from_outside_is_the_hosts(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as host, tempfile.TemporaryDirectory() as place:
        host.bind(f"{place}/host.sock")
        mounted, shared = Path(place, "docker.sock"), Path(place, "host.sock")
        mounted.touch()
        if subprocess.run(["mount", "--bind", shared, mounted], capture_output=True, check=False).returncode != 0:
            pytest.skip("this machine does not let us mount")
        try:
            assert (
                "is the socket of the host's own daemon"
                in found(settings_for("docker", docker_host=f"unix://{mounted}"))[0]
            )
            assert found(settings_for("docker", docker_host=f"unix://{shared}")) == []
        finally:
            subprocess.run(["umount", mounted], check=True)


def test_a_link_to_the_hosts_socket_is_the_hosts(tmp_path: Path) -> None:
    (tmp_path / "docker.sock").symlink_to("/var/run/docker.sock")
    settings = settings_for("docker", docker_host=f"unix://{tmp_path}/docker.sock")
    assert "is the socket of the host's own daemon" in found(settings)[0]


def test_in_production_and_only_there_no_code_runs_next_to_the_keys() -> None:
    assert "next to your keys" in found(settings_for("local"), production=True)[0]
    assert found(settings_for("local")) == []
    assert found(settings_for("none"), production=True) == []


def test_a_daemon_with_the_image_is_right(daemon: str) -> None:
    assert list(daemon_problems(settings_for("docker", docker_host=daemon))) == []


def test_an_image_that_the_daemon_lacks_is_named_with_the_command_that_brings_it(daemon: str) -> None:
    settings = settings_for("docker", docker_host=daemon).model_copy(update={"code_image": "python:3.99.0"})
    assert list(daemon_problems(settings)) == [
        (
            "CODE_IMAGE",
            "the daemon of the sandbox has no image python:3.99.0, and code pulls none: pull it there",
            f"docker --host {daemon} pull python:3.99.0",
        )
    ]


CANNOT_LIMIT = """#!/bin/sh
echo "$1" >>{calls}
case "$1" in
    info) echo "false false true" ;;
    run) echo "WARNING: Your kernel does not support pids limit capabilities. PIDs limit discarded." >&2 ;;
esac
"""


@pytest.fixture
def without_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RuntimeSettings:
    """A daemon that is rootless and has no cgroups, which needs another machine: a command that answers as it does."""
    (tmp_path / "docker").write_text(CANNOT_LIMIT.format(calls=tmp_path / "calls"))
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return settings_for("docker", docker_host="tcp://sandbox:2376")


def test_a_daemon_that_cannot_limit_is_named(without_limits: RuntimeSettings) -> None:
    (name, sentence, _) = next(daemon_problems(without_limits))
    assert name == "DOCKER_HOST"
    assert sentence.startswith("the daemon of the sandbox cannot limit memory and processes: it needs cgroups")


def test_a_daemon_that_cannot_limit_executes_nothing(without_limits: RuntimeSettings, tmp_path: Path) -> None:
    sandbox = open_sandbox(without_limits, RunLimits(), tmp_path, deadline_after(60))
    with pytest.raises(SandboxDown, match="PIDs limit discarded"):
        sandbox.execute("print(1)")
    assert (tmp_path / "calls").read_text().split() == ["run", "rm"]


def test_a_daemon_that_hangs_is_not_told_as_code_that_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "docker").write_text('#!/bin/sh\ncase "$1" in exec) exec sleep 600 ;; esac\n')
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    settings = settings_for("docker", docker_host="tcp://sandbox:2376")
    sandbox = open_sandbox(settings, RunLimits(code_seconds=0.5), tmp_path, deadline_after(60))
    with pytest.raises(SandboxDown, match=r"\(tcp://sandbox:2376\) gave no answer within 0\.5 seconds\.$"):
        sandbox.execute("print(1)")


def test_the_daemon_that_runs_this_process_is_no_sandbox(
    docker_machine: Machine, daemon: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker_machine.open().execute("print(1)")
    container = docker(daemon, "ps", "--quiet", "--no-trunc")
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"86 67 254:0 /var/lib/docker/containers/{container}/hosts /etc/hosts rw - ext4 /dev/vda rw\n")
    monkeypatch.setattr(problems_module, "MOUNTS", mounts)
    problems = list(daemon_problems(docker_machine.settings))
    assert [(name, "is the daemon that runs this very container" in said) for name, said, _ in problems] == [
        ("DOCKER_HOST", True)
    ]


NOWHERE = {"DATABASE_URL": "postgresql://localhost:1/crew", "BROKER_URL": "redis://localhost:1"}


@pytest.mark.parametrize("command", ["check", "worker"])
def test_an_image_that_the_daemon_lacks_is_named_before_any_run(daemon: str, tmp_path: Path, command: str) -> None:
    make_project(tmp_path)
    variables = {"CODE_EXECUTION": "docker", "DOCKER_HOST": daemon, "CODE_IMAGE": "python:3.99.0", **NOWHERE}
    process = start(tmp_path, command, **variables)
    told = process.communicate(timeout=PATIENCE)[1]
    assert process.returncode == 78, told
    assert "CODE_IMAGE" in told
    assert "python:3.99.0" in told


def test_check_says_that_the_daemon_is_away(tmp_path: Path) -> None:
    if shutil.which("docker") is None:
        pytest.skip("there is no command docker")
    make_project(tmp_path)
    process = start(tmp_path, "check", CODE_EXECUTION="docker", DOCKER_HOST=f"unix://{tmp_path}/docker.sock")
    told = process.communicate(timeout=PATIENCE)[1]
    assert process.returncode == 78, told
    assert "does not answer" in told


def do_run(application: Application, machine: Machine, code: str) -> Outcome:
    """Do a run in a process of its own, as a worker does."""
    settings = machine.settings.model_copy(
        update={"framework": "plain", "writable_dir": machine.place, "limits": RunLimits(**SMALL)}
    )
    request = RunRequest(run_id=uuid.uuid4().hex, input=code, settings={}, runtime={})
    with own_fork_server():
        runner = Runner(settings, [coding.coding, coding.failing])
        runner.start()
        return runner.run(application, request)


def test_a_run_executes_code_and_ends_what_it_left(machine: Machine) -> None:
    mark = uuid.uuid4().hex
    outcome = do_run(coding.coding, machine, DAEMON.format(python="sys.executable", mark=mark) + "print('done')")
    assert outcome.status == "succeeded", outcome.error
    assert outcome.output == {"exit_code": 0, "output": "done\n", "timed_out": False}
    assert not processes_with(mark)


def test_a_run_that_fails_ends_what_its_code_left(docker_machine: Machine, daemon: str) -> None:
    outcome = do_run(coding.failing, docker_machine, "print('done')")
    assert outcome.error is not None
    assert outcome.error.reason == "ValueError: after done\n"
    assert not docker(daemon, "ps", "--all", "--quiet")


def test_a_run_of_a_project_without_a_sandbox_fails_with_the_setting_to_set(tmp_path: Path) -> None:
    outcome = do_run(coding.coding, Machine("local", settings_for("none"), tmp_path, []), "print(1)")
    assert outcome.error is not None
    assert outcome.error.reason.startswith("NoSandbox: This project executes no code: set CODE_EXECUTION=docker")


def test_a_run_that_never_executes_code_opens_no_sandbox(tmp_path: Path) -> None:
    made: list[RunContext[Any, Any]] = []

    def make(run: RunContext[Any, Any]) -> Sandbox:
        made.append(run)
        return open_sandbox(settings_for("local"), run.limits, run.workspace, run.deadline)

    run = RunContext[Any, Any](
        id="r1",
        attempt=1,
        user_id=None,
        input=None,
        settings=None,
        limits=RunLimits(),
        deadline=deadline_after(60),
        workspace=tmp_path,
        make_llm=lambda run, role: None,
        report=lambda kind, data: None,
        make_sandbox=make,
    )
    run.close()
    assert made == []
    with pytest.raises(NoSandbox):
        run.execute("print(1)")
