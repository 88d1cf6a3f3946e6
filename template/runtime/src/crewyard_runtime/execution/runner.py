"""The parent of runs: forks each from a server that has imported the framework, listens, and kills at the deadline."""

import contextlib
import logging
import multiprocessing
import os
import select
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import psutil

from crewyard_runtime.application import Application
from crewyard_runtime.execution import child, closed
from crewyard_runtime.execution.control import RunControl
from crewyard_runtime.execution.messages import Failure, Hello, Message, Outcome, RunRequest
from crewyard_runtime.execution.processes import kill_run
from crewyard_runtime.execution.workspace import Workspaces
from crewyard_runtime.frameworks import QUIET, framework_module
from crewyard_runtime.memory.backends import BACKENDS
from crewyard_runtime.settings import RuntimeSettings, SecretSettings, plain
from crewyard_runtime.usage import Usage

OnEvent = Callable[[str, str, dict[str, Any]], None]

# What a run's process inherits; everything else it needs comes by its pipe, to it alone.
INHERITED = ("PATH", "LANG", "LC_ALL", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "LD_LIBRARY_PATH")
INHERITED_ANY_CASE = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
INHERITED_PREFIX = "PYTHON"
log = logging.getLogger("crewyard")
_start_lock = threading.Lock()
_home: Path | None = None  # of the fork server, of which a process has one
_server: int | None = None  # the number of that process


class RunnerNotReady(Exception):
    """The process that forks runs cannot be used; the message says which module is to blame and what to do."""


class Runner:
    """Runs applications, each run in a process of its own. Safe to call from several threads.

    One fork server serves the whole process: the first runner that starts decides what it has imported.
    """

    def __init__(self, settings: RuntimeSettings, applications: list[Application]) -> None:
        self._settings = settings
        self._applications = applications
        self._context = multiprocessing.get_context("forkserver")
        self._workspaces = Workspaces(settings.writable_dir / "runs")
        self._homes = Workspaces(settings.writable_dir / "homes")
        self._cancelled = threading.Event()

    @property
    def preload(self) -> list[str]:
        """The modules that the fork server imports before it forks."""
        builds = [application.build_module for application in self._applications]
        return [
            "crewyard_runtime.execution.preloading",
            "crewyard_runtime.execution.private",
            framework_module(self._settings.framework),
            *(BACKENDS[self._settings.memory][1] if self._settings.memory != "none" else []),
            "crewyard_runtime.execution.child",
            *dict.fromkeys(builds),
            "crewyard_runtime.execution.preloaded",
        ]

    def begin(self) -> None:
        """Start the fork server, which imports while others do something else. Raises OSError as `start` does."""
        self._workspaces.prepare()
        self._homes.prepare()
        with _start_lock:
            self._context.set_forkserver_preload(self.preload)
            _ensure_fork_server(self._homes)

    def start(self) -> None:
        """Start the fork server and try it. Raises RunnerNotReady, and OSError if the writable directory is none."""
        self.begin()
        hello = self._hello()
        if hello.missing:
            module, why = next(iter(hello.missing.items()))
            msg = f"The module {module} cannot be imported for runs: {why}"
            raise RunnerNotReady(msg)
        if hello.threads:
            msg = (
                f"Importing {', '.join(self.preload)} started threads ({', '.join(hello.threads)}), and a forked run "
                "would wait for them for ever: start no crew, client or thread at import (F24)."
            )
            raise RunnerNotReady(msg)

    def run(
        self,
        application: Application,
        request: RunRequest,
        on_event: OnEvent = lambda run_id, event, data: None,
        keep_workspace: bool = False,
        control: RunControl | None = None,
    ) -> Outcome:
        """Do one run and return how it ended; what goes wrong, in it or around it, is in the outcome.

        control: ends the run from outside, and says since when it is held.
        """
        try:
            name = f"{request.run_id}-{request.attempt}"
            with self._workspaces.made_for(name, keep=keep_workspace) as workspace:
                return self._run_in(workspace, application, request, on_event, control or RunControl())
        except OSError as error:
            reason = f"The run could not be started: {error}. Its directory is {self._workspaces.root}."
            return Outcome(run_id=request.run_id, status="failed", error=Failure(reason=reason))

    def cancel(self) -> None:
        """End all runs of this runner, now, and let none start."""
        self._cancelled.set()

    def _hello(self) -> Hello:
        mine, its = self._context.Pipe()
        process = self._context.Process(target=child.say_hello, args=(its, self.preload))
        try:
            process.start()
            its.close()
            hello = Hello.model_validate_json(mine.recv_bytes())
        except (EOFError, ConnectionError) as error:
            names = ", ".join(self.preload)
            msg = f"The process that forks runs died while it imported {names}; what it said is above."
            raise RunnerNotReady(msg) from error
        finally:
            mine.close()
        process.join()
        return hello

    def _run_in(
        self, workspace: Path, application: Application, request: RunRequest, on_event: OnEvent, control: RunControl
    ) -> Outcome:
        deadline = time.time() + self._settings.limits.deadline_seconds
        sent = request.model_copy(
            update={
                "workspace": str(workspace),
                "deadline": deadline,
                "runtime": plain(self._settings.for_a_run()),
                "held_since": control.held_since(),
            }
        )
        mine, its = self._context.Pipe()
        process = self._context.Process(target=child.main, args=(its, application, self._settings.lease_seconds))
        with _start_lock:
            # If it died, we start the next: multiprocessing would give it our environment, with all that is secret.
            _ensure_fork_server(self._homes)
            process.start()
        its.close()
        try:
            leader = psutil.Process(process.pid)
        except psutil.NoSuchProcess:
            return _died(request, f"The run's process died at its start (exit code {process.exitcode}).")
        try:
            if not _is_ours():
                return _died(request, "The process that forks runs died while it forked this one.")
            mine.send_bytes(sent.model_dump_json().encode())
            return self._listen(mine, process, sent, on_event, control)
        finally:
            kill_run(leader)
            process.join()
            mine.close()

    def _listen(
        self, pipe: Connection, process: Any, request: RunRequest, on_event: OnEvent, control: RunControl
    ) -> Outcome:
        """Beat and listen until the run has an outcome, is dead, late or cancelled.

        A beat says since when the run is held: one that was delayed on its way keeps nothing alive.
        """
        told, used = request.held_since, Usage()
        between = min(self._settings.lease_seconds / 6, 2.5)
        while True:
            if self._cancelled.is_set():
                control.end("The run was cancelled.")
            if control.ending:
                return _ended(request, "cancelled", control.ending, used)
            if (left := request.deadline - time.time()) <= 0:
                limit = self._settings.limits.deadline_seconds
                reason = f"The run took longer than its deadline of {limit:g} seconds."
                return _ended(request, "timed_out", reason, used)
            ready = wait([pipe, process.sentinel], timeout=min(left, 0.2))
            if (held := control.held_since()) >= told + between:
                _beat(pipe, held)
                told = held
            try:
                while pipe.poll():
                    message = Message.model_validate_json(pipe.recv_bytes())
                    if message.outcome is not None:
                        return message.outcome
                    used = Usage.model_validate(message.data.get("used") or used)
                    on_event(request.run_id, message.event or "", message.data)
            except (EOFError, OSError):
                ready = [process.sentinel]
            if process.sentinel in ready and not pipe.closed:
                process.join(1)
                reason = f"The run's process died ({_told(process.exitcode)}) before it had a result."
                return _died(request, reason, used)


def _beat(pipe: Connection, held_since: float) -> None:
    """Say since when the run is held. Neither waits for a process that does not read, nor minds one that has ended:
    what it sent before its end, perhaps its outcome, is still to be read.
    """
    with contextlib.suppress(OSError):
        if select.select([], [pipe], [], 0)[1]:
            pipe.send_bytes(str(held_since).encode())


def clean_environment(environment: Mapping[str, str], home: Path) -> dict[str, str]:
    """The variables that a run's process starts with: no key, no URL, no setting."""
    inherited = {
        name: value
        for name, value in environment.items()
        if name in INHERITED or name.upper() in INHERITED_ANY_CASE or name.startswith(INHERITED_PREFIX)
    }
    # With python-dotenv on, crewai would read the project's .env at import and give all of it to every run.
    framework = {**QUIET, "PYTHON_DOTENV_DISABLED": "true"}
    return {**inherited, **framework, "HOME": str(home), "TMPDIR": str(home)}


def _to_be_closed() -> dict[str, str]:
    """What tells the fork server which directory of secrets its runs shall not read, if there is one."""
    chosen = SecretSettings.load()
    if chosen.secrets != "files" or not chosen.secrets_dir.is_dir():
        return {}
    if reason := closed.why_not(chosen.secrets_dir):
        log.warning("runs can read the secrets in %s: %s", chosen.secrets_dir, reason)
        return {}
    return {closed.VARIABLE: str(chosen.secrets_dir.absolute())}


def _ensure_fork_server(homes: Workspaces) -> None:
    """Start the fork server, if there is none, in a clean environment: it can only inherit ours.

    Its home is new each time: what a framework left there half-written, on a full disk, would stop every later start.
    """
    global _home, _server
    if _is_ours():
        return
    if forkserver._forkserver._forkserver_pid is not None:  # type: ignore[attr-defined]
        log.warning("the process that forks runs is gone, as when memory runs out; there will be another one")
    _end_a_foreign_one()
    if _home is None or not _home.exists():
        _home = homes.made_for_this_process()
    _have_temporary_directory(_home)
    ours = dict(os.environ)
    told = _to_be_closed()
    try:
        os.environ.clear()
        os.environ.update(clean_environment(ours, _home) | told)
        forkserver.ensure_running()
    finally:
        os.environ.clear()
        os.environ.update(ours)
    _server = _running()


def _is_ours() -> bool:
    """Whether the fork server runs, and is the one that was started in a clean environment."""
    return _server is not None and _server == _running()


def _running() -> int | None:
    """The number of the fork server, if there is one and it lives. It stays for multiprocessing to wait for."""
    number: int | None = forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
    if number is None:
        return None
    ended = os.waitid(os.P_PID, number, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    return number if ended is None else None


def _end_a_foreign_one() -> None:
    """End the fork server that multiprocessing has started by itself."""
    number = _running()
    if number is not None:
        os.kill(number, signal.SIGKILL)
        os.waitid(os.P_PID, number, os.WEXITED | os.WNOWAIT)


def _have_temporary_directory(otherwise: Path) -> None:
    """multiprocessing makes its sockets in a temporary directory; a read-only container may have none."""
    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        tempfile.tempdir = str(otherwise)


def _told(code: int | None) -> str:
    """An exit code, and what it tells of."""
    short = {-9: "a kernel that is short of memory kills so", 255: "the process that forks runs is gone, too"}
    return f"exit code {code}" + (f": {short[code]}" if code in short else "")


def _died(request: RunRequest, reason: str, used: Usage | None = None) -> Outcome:
    error = Failure(reason=reason)
    return Outcome(run_id=request.run_id, status="failed", died=True, error=error, usage=used or Usage())


def _ended(request: RunRequest, status: Any, reason: str, used: Usage) -> Outcome:
    return Outcome(run_id=request.run_id, status=status, error=Failure(reason=reason), usage=used)
