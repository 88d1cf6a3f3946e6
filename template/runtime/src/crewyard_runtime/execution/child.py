"""The process of one run: takes a request from its pipe, guards itself, and sends events and an outcome back."""

import json
import logging
import os
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from importlib import import_module
from multiprocessing.connection import Connection

from crewyard_runtime import logs
from crewyard_runtime.application import Application
from crewyard_runtime.errors import place_of
from crewyard_runtime.execution.messages import Hello, Message, RunRequest
from crewyard_runtime.execution.processes import kill_descendants, own_session
from crewyard_runtime.execution.work import work
from crewyard_runtime.frameworks import STORAGE_VARIABLES

_SIGKILL = 9
PRINTED_SECONDS = 1  # for the last lines of a run; a process that left its session may keep the pipe open


def main(connection: Connection, application: Application, lease_seconds: float) -> None:
    """Do one run. Never returns: what the framework left behind (threads, exit handlers) must not hold the process."""
    own_session()
    request = RunRequest.model_validate_json(connection.recv_bytes())
    if time.monotonic() - request.held_since > lease_seconds:
        os._exit(0)  # the parent was frozen since it took this run, which is somebody else's now
    threading.Thread(target=_guard, args=(connection, lease_seconds, request), daemon=True).start()
    end_logging = _start_logging(request)
    _enter_workspace(request.workspace)
    sending = threading.Lock()

    def send(message: Message) -> None:
        with sending:
            connection.send_bytes(_json(message))

    outcome = work(application, request, lambda event, data: send(Message(event=event, data=data)))
    _flush()
    kill_descendants()
    end_logging()
    send(Message(outcome=outcome))
    os._exit(0)


def _json(message: Message) -> bytes:
    """The message as JSON. A model may answer with half a character (a lone surrogate), which no encoding has: "?"."""
    return json.dumps(message.model_dump(), ensure_ascii=False, default=str).encode("utf-8", "replace")


def say_hello(connection: Connection, modules: list[str]) -> None:
    """Tell what this process finds in place of what the fork server should have preloaded."""
    missing = {name: _reason(name) for name in modules if name not in sys.modules}
    threads: list[str] = [] if missing else import_module("crewyard_runtime.execution.preloaded").THREADS
    connection.send_bytes(Hello(missing=missing, threads=threads).model_dump_json().encode())


def _reason(module: str) -> str:
    # The fork server swallows the error of a preload; importing once more brings it back.
    try:
        import_module(module)
    except BaseException as error:
        place = place_of(error)
        return f"{type(error).__name__}: {error}{f' ({place})' if place else ''}"
    return "it was not preloaded, but could be imported a second time"


def _guard(connection: Connection, lease_seconds: float, request: RunRequest) -> None:
    """Kill this run when its parent is gone (end of file) or holds it no more (a lease), or when it is late."""
    held_since = request.held_since
    while True:
        try:
            if connection.poll(0.1):
                held_since = float(connection.recv_bytes())
        except (EOFError, OSError):
            break
        if time.monotonic() - held_since > lease_seconds or time.time() > request.deadline + 0.5:
            break
    kill_descendants()
    os.kill(os.getpid(), _SIGKILL)


def _start_logging(request: RunRequest) -> Callable[[], None]:
    """Standard output is for results of commands, so what a run prints goes to standard error; in a worker as logs.

    What is returned waits until all that was printed is logged.
    """
    if request.json_logs:
        logs.process_is_for(request.request_id, request.run_id)
        warnings.simplefilter("ignore", DeprecationWarning)  # CrewAI's own: twenty a run, for whoever changes its code
        logs.configure(logging.WARNING, stream=os.fdopen(os.dup(2), "w", buffering=1))
        return _log_what_is_printed()
    os.dup2(2, 1)
    logging.basicConfig(stream=sys.stderr, format="%(levelname)s %(message)s", level=logging.WARNING)
    return lambda: None


def _log_what_is_printed() -> Callable[[], None]:
    read, write = os.pipe()
    os.dup2(write, 1)
    os.dup2(write, 2)
    os.close(write)

    def forward() -> None:
        printed = logging.getLogger("crewyard.run.printed")
        for line in os.fdopen(read, errors="replace"):
            if line.strip():
                printed.info(line.rstrip())

    thread = threading.Thread(target=forward, daemon=True)
    thread.start()

    def end() -> None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)  # nobody writes into the pipe any more, so its reader comes to its end
        thread.join(PRINTED_SECONDS)

    return end


def _enter_workspace(workspace: str) -> None:
    os.chdir(workspace)
    os.environ["TMPDIR"] = workspace
    for variable in STORAGE_VARIABLES:
        os.environ[variable] = f"{workspace}/.framework"
    tempfile.tempdir = None


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
