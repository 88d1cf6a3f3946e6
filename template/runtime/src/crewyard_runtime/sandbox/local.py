"""The sandbox that is a process of this machine: for development, where no daemon of containers is at hand.

It bounds what code uses (time, memory of each process, files, processes), gives it an empty environment, and leaves no
process of it behind. It does not keep it in: the network is open, every file that anybody may read can be read, and
directories like /tmp can be written to, without a bound. Whoever is not root runs code as themselves: it writes where
they can write, `../` included, and can end what belongs to them. As root the code becomes a user that nobody else is,
who can write to nothing of anybody's.

Measured on two cores, the median of 15 runs that print a number: 0.05 s for each execution.
"""

import json
import os
import pwd
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from crewyard_runtime.limits import RunLimits
from crewyard_runtime.privacy import keep_private
from crewyard_runtime.sandbox.execution import (
    KILLED,
    OVER,
    Execution,
    SandboxDown,
    source,
    unknown_language,
    with_note,
)
from crewyard_runtime.sandbox.output import read_output

SUPERVISOR = Path(__file__).with_name("supervisor.py")
PATH = "/usr/local/bin:/usr/bin:/bin"
FILE = ".code"
FIRST_UID, UIDS = 30_000, 30_000  # mapped also where a container's root is nobody outside
GRACE_SECONDS = 15  # that the supervisor has for killing and for removing files
REPORT_BYTES = 4_096
MB = 1_048_576


class LocalSandbox:
    """Executes the code of one run in its workspace. See `Sandbox`."""

    def __init__(self, limits: RunLimits, workspace: Path) -> None:
        self._limits = limits
        self._directory = workspace / "code"
        self._turn = threading.Lock()
        self._closed = threading.Event()
        self._line: socket.socket | None = None

    def execute(self, code: str, language: str = "python") -> Execution:
        """Execute code and tell how it ended. Raises SandboxDown if no process can be started."""
        if (refusal := unknown_language(language)) is not None:
            return refusal
        with self._turn:
            if self._closed.is_set():
                raise SandboxDown(OVER)
            try:
                return self._execute(code, language)
            except OSError as error:
                raise SandboxDown(f"Code cannot be executed on this machine now: {error}.") from error

    def close(self) -> None:
        """End what is being executed."""
        self._closed.set()
        line = self._line
        if line is not None:
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)

    def _execute(self, code: str, language: str) -> Execution:
        uid = self._prepare()
        # Who may not leave the directory reaches it by no path from above.
        home = str(self._directory) if uid is None else "/proc/self/cwd"
        ours, theirs = socket.socketpair()
        with ours, self._start(home, theirs) as supervisor:
            theirs.close()
            self._line = ours
            with suppress(BrokenPipeError, ConnectionResetError):  # it has ended, and has no report
                ours.sendall(json.dumps(self._order(code, language, home, uid)).encode() + b"\n")
            if self._closed.is_set():
                self.close()
            output, _ = read_output(supervisor, self._limits.code_seconds + GRACE_SECONDS)
            ours.settimeout(GRACE_SECONDS)
            report = _received(ours)
            self._line = None
        return self._ended(report, output)

    def _prepare(self) -> int | None:
        """Make the directory, and give the user that the code becomes; None if it stays who we are."""
        if os.geteuid() != 0:
            keep_private()  # the same user could read our environment
            self._directory.mkdir(mode=0o700, exist_ok=True)
            return None
        self._directory.mkdir(mode=0o700, exist_ok=True)
        uid = _unused_uid(self._directory.stat().st_ino)
        os.chown(self._directory, uid, uid)
        return uid

    def _start(self, home: str, line: socket.socket) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [sys.executable, "-I", "-S", str(SUPERVISOR)],
            cwd=self._directory,
            env={"PATH": PATH, "HOME": home, "TMPDIR": home, "LANG": "C.UTF-8"},
            stdin=line.fileno(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def _order(self, code: str, language: str, home: str, uid: int | None) -> dict[str, Any]:
        limits = self._limits
        return {
            "code": source(code).hex(),
            "language": language,
            "file": FILE,
            "path": f"{home}/{FILE}",
            "uid": uid,
            "seconds": limits.code_seconds,
            "memory_bytes": limits.code_memory_mb * MB,
            "disk_bytes": limits.code_disk_mb * MB,
            "processes": limits.code_processes,
        }

    def _ended(self, report: dict[str, Any], output: str) -> Execution:
        if self._closed.is_set():
            raise SandboxDown(OVER)
        if "timed_out" in report:
            output = with_note(output, f"Killed: it took longer than {self._limits.code_seconds:g} seconds.")
        if "emptied" in report:
            note = f"The files of a run may take {self._limits.code_disk_mb} MB, and took more: all of them are gone."
            output = with_note(output, note)
        if not report:
            output = with_note(output, "Killed: the process that watched it has ended.")
        return Execution(exit_code=report.get("exit_code", KILLED), output=output, timed_out="timed_out" in report)


def _received(line: socket.socket) -> dict[str, Any]:
    """The supervisor's report; an empty one if it ended before it had one."""
    try:
        report: dict[str, Any] = json.loads(line.recv(REPORT_BYTES) or b"{}")
    except (OSError, ValueError):
        return {}
    return report


def _unused_uid(number: int) -> int:
    """A user id that nobody has, other ones for other numbers: here, of the directories of runs."""
    for step in range(UIDS):
        uid = FIRST_UID + (number + step) % UIDS
        try:
            pwd.getpwuid(uid)
        except KeyError:
            return uid
    raise SandboxDown("Code cannot be executed on this machine: every user id from 30000 to 59999 is taken.")
