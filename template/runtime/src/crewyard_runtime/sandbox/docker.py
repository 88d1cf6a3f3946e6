"""The sandbox that is a container: one for a run, made at its first execution, on a daemon that runs nothing else.

The code has no network, no right, no file of ours; what it writes is in memory and gone with the container, which ends
by itself at the run's deadline. What it can do is what the kernel lets an unprivileged process do in a container.

Measured with a daemon on the same machine (two cores, Docker 20.10, overlay2), the median of 15 runs that print a
number: 0.28 s for the first execution, 0.08 s for each after it, 0.06 s to close.
"""

import math
import tempfile
import threading
import time
import uuid
import weakref
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from crewyard_runtime.limits import RunLimits
from crewyard_runtime.sandbox.client import DockerClient, reason
from crewyard_runtime.sandbox.execution import (
    KILLED,
    OVER,
    SHELLS,
    Execution,
    SandboxDown,
    source,
    unknown_language,
    with_note,
)
from crewyard_runtime.sandbox.output import read_output
from crewyard_runtime.settings import RuntimeSettings

# The container's own process is somebody else than the code, which so can neither kill nor stop it.
KEEPER, CODER = "65533:65533", "65534:65534"
PLACE = "/work"
FILE = f"{PLACE}/.code"
# Written before the code is there, to where the code cannot write: it tells an execution from what never began.
BEGUN = "begun\n"
BEGIN = f"rm -rf {FILE} && cat >{FILE} && echo begun >&2 && exec {{}} {FILE} </dev/null 2>&1"
COMMANDS = {
    "python": BEGIN.format("python3 -I"),
    **dict.fromkeys(SHELLS, BEGIN.format('"$(command -v bash || command -v sh)"')),
}
UNLIMITED = "discarded"  # in the warning of a daemon that starts a container without one of its limits
SAID = 20_000  # bytes that are read of what the command complains of
CLOSE_SECONDS = 10
GONE = "The files of earlier executions are gone."


class DockerSandbox:
    """Executes the code of one run in a container. See `Sandbox`."""

    def __init__(self, settings: RuntimeSettings, limits: RunLimits, workspace: Path, deadline: datetime) -> None:
        self._client = DockerClient(settings, workspace)
        self._limits = limits
        self._workspace = workspace
        self._deadline = deadline
        self._turn = threading.Lock()
        self._closed = threading.Event()
        self._container: str | None = None
        self._ending: weakref.finalize[..., DockerSandbox] | None = None

    def execute(self, code: str, language: str = "python") -> Execution:
        """Execute code and tell how it ended. Raises SandboxDown if there is no daemon or it does not do its work."""
        if (refusal := unknown_language(language)) is not None:
            return refusal
        with self._turn:
            if self._closed.is_set():
                raise SandboxDown(OVER)
            had_files = self._container is not None
            execution, _ = self._try(code, language)
            if execution is not None:
                return execution
            # The code never began, so it may be tried again: the container is gone, or full of processes or files.
            self._end_container()
            execution, why = self._try(code, language)
            if execution is None:
                self._end_container()
                raise self._client.down(why)
            if had_files:
                execution.output = f"[{GONE}]\n{execution.output}"
            return execution

    def close(self) -> None:
        """Remove the container, if there is one, with all that is in it."""
        self._closed.set()
        self._end_container()

    def _try(self, code: str, language: str) -> tuple[Execution | None, str]:
        """How the code ended; or None, and why it never began."""
        container = self._container or self._start_container()
        command = ("exec", "-i", "--user", CODER, container, "sh", "-c", COMMANDS[language])
        with tempfile.TemporaryFile(dir=self._workspace) as script, tempfile.TemporaryFile(dir=self._workspace) as said:
            script.write(source(code))
            script.seek(0)
            with self._client.start(*command, stdin=script, stderr=said) as process:
                output, timed_out = read_output(process, self._limits.code_seconds)
            said.seek(0)
            told = said.read(SAID).decode(errors="replace")
        return self._timed_out(output, told) if timed_out else self._ended(process.returncode, output, told)

    def _ended(self, exit_code: int, output: str, told: str) -> tuple[Execution | None, str]:
        if self._closed.is_set():
            raise SandboxDown(OVER)
        if not told.startswith(BEGUN):
            return None, output.strip() or reason(told)
        if told != BEGUN:  # from here on only the command itself writes there
            raise self._client.down(reason(told))
        if exit_code == KILLED:
            note = f"Killed, perhaps for its memory: the code of a run has {self._limits.code_memory_mb} MB of memory."
            output = with_note(output, note)
        return Execution(exit_code=exit_code, output=output), ""

    def _timed_out(self, output: str, told: str) -> tuple[Execution, str]:
        self._end_container()
        if not told:  # not even the shell has begun
            raise self._client.silent(self._limits.code_seconds)
        note = f"Killed: it took longer than {self._limits.code_seconds:g} seconds. {GONE}"
        return Execution(exit_code=KILLED, output=with_note(output, note), timed_out=True), ""

    def _start_container(self) -> str:
        """Start a container and return its name. Raises SandboxDown."""
        name = f"crewyard-{uuid.uuid4().hex}"
        # Also when nobody closes this; and from before the start, whose answer may be lost.
        self._ending = weakref.finalize(self, _remove_container, self._client, name)
        code, _, told = self._client.call("run", "--name", name, *self._container_options())
        if self._closed.is_set():  # perhaps before the container was there to be removed
            _remove_container(self._client, name)
            raise SandboxDown(OVER)
        if code != 0 or UNLIMITED in told:
            self._end_container()
            raise self._client.down(reason(told))
        self._container = name
        return name

    def _container_options(self) -> list[str]:
        limits = self._limits
        seconds = max(1, math.ceil(self._deadline.timestamp() - time.time()))
        return [
            *("--detach", "--rm", "--init", "--pull", "never", "--label", f"crewyard.run={self._workspace.name}"),
            *("--network", "none", "--read-only", "--user", KEEPER, "--cap-drop", "ALL"),
            *("--security-opt", "no-new-privileges", "--log-driver", "none", "--cpus", "1"),
            *("--memory", f"{limits.code_memory_mb}m", "--memory-swap", f"{limits.code_memory_mb}m"),
            *("--pids-limit", str(limits.code_processes), "--ulimit", "core=0", "--ulimit", "nofile=256"),
            # Its owner is named: its mode becomes that of the directory below it, which Docker makes for root.
            *("--tmpfs", f"{PLACE}:rw,nosuid,nodev,uid=65534,gid=65534,size={limits.code_disk_mb}m,nr_inodes=16384"),
            *("--shm-size", "16m"),
            *("--workdir", PLACE, "--env", f"HOME={PLACE}", "--env", f"TMPDIR={PLACE}", "--env", "LANG=C.UTF-8"),
            *("--entrypoint", "sleep", self._client.image, str(seconds)),
        ]

    def _end_container(self) -> None:
        self._container = None
        if self._ending is not None:
            self._ending()  # once: what is called again does nothing


def _remove_container(client: DockerClient, name: str) -> None:
    with suppress(SandboxDown):  # it ends by itself, later
        client.call("rm", "--force", name, seconds=CLOSE_SECONDS)
