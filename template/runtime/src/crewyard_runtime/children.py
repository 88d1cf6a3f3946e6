"""The child processes of a command: started, heard, and ended with it, whatever happens to it."""

import contextlib
import ctypes
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, Self

import psutil

from crewyard_runtime.errors import NotReady
from crewyard_runtime.execution.processes import kill_run

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
POLL_SECONDS = 0.05
MARGIN_SECONDS = 5  # for what a child does after its grace
HURRY_SECONDS = 3
LINES_KEPT = 200
LINES_TOLD = 20
_PR_SET_PDEATHSIG = 1

Show = Callable[[str, str], None]  # takes the name of a child and a line that it wrote


class Interrupts:
    """While it is entered, the first Ctrl-C, SIGTERM or hang-up raises KeyboardInterrupt, and none after it does.

    So nothing interrupts what that one began to end. hurry: whether another one came.
    """

    def __init__(self) -> None:
        self.hurry = False
        self._ending = False
        self._held = False  # whether none may be raised just now
        self._late = False  # whether one waits for that
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in ENDING:
            if signal.getsignal(number) != signal.SIG_IGN:  # as nohup wants it
                self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Let it come after this block: a process that was started must be known before anything else happens."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
        if self._late:
            raise KeyboardInterrupt

    def end(self) -> None:
        """Raise none from now on."""
        self._ending = True

    def _on_signal(self, signum: int, frame: FrameType | None) -> None:
        if self._ending:
            self.hurry = True
            return
        self._ending, self._late = True, self._held
        if not self._held:
            raise KeyboardInterrupt


class Child:
    """One child process. said: its last lines."""

    def __init__(self, name: str, process: "subprocess.Popen[str]", heard: Show) -> None:
        self.name = name
        self.process = process
        self.said: deque[str] = deque(maxlen=LINES_KEPT)
        self.wanted = True
        self._heard = heard
        self._leader = psutil.Process(process.pid)
        self._thread = threading.Thread(target=self._listen, name=f"{name}-output", daemon=True)
        self._thread.start()

    def has_said(self, words: str) -> bool:
        """Whether one of its last lines contains the words."""
        return any(words in line for line in list(self.said))

    def has_ended(self) -> bool:
        """Whether the process is gone."""
        return self.process.poll() is not None

    def kill(self) -> None:
        """Kill this one process, as a machine that is short of memory does; it does not count as ended by itself."""
        self.wanted = False
        self.process.kill()
        self.process.wait()

    def clear(self) -> None:
        """Kill what is left of it: its session and its descendants."""
        kill_run(self._leader)
        self.process.wait()
        self._thread.join(1)

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(line.rstrip())
            self._heard(self.name, line.rstrip())


class Children:
    """The children of one command; none is left when its block ends.

    On Linux they end too when the command is killed. grace_seconds: how long an orderly end may take.
    show: takes what the children write, in the thread that waits for them.
    """

    def __init__(self, interrupts: Interrupts, grace_seconds: float, show: Show | None = None) -> None:
        self._interrupts = interrupts
        self._grace_seconds = grace_seconds
        self._show = show
        self._lines: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()
        self._all: list[Child] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._interrupts.end()
        self._end()

    def start(self, name: str, command: list[str], environment: dict[str, str]) -> Child:
        """Start a child with these variables beside the command's own; in a session that gets no Ctrl-C."""
        with self._interrupts.held():
            process = subprocess.Popen(
                command,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                encoding="utf-8",
                errors="replace",
                start_new_session=True,
                preexec_fn=_end_with_parent if sys.platform == "linux" else None,
            )
            child = Child(name, process, self._hear)
            self._all.append(child)
        return child

    def ended(self) -> Child | None:
        """One that ended by itself."""
        return next((child for child in self._all if child.wanted and child.has_ended()), None)

    def wait_until(self, reached: Callable[[], bool], seconds: float, what: str) -> None:
        """Show what they say until `reached`. Raises NotReady if it is not in time, or if a child ends before it is."""
        deadline = time.monotonic() + seconds
        while not reached():
            if (child := self.ended()) is not None:
                raise NotReady(self.why_ended(child))
            if time.monotonic() > deadline:
                msg = f"{what} did not happen within {seconds:g} seconds: the machine may be too busy, try again."
                raise NotReady(msg)
            self._show_lines(POLL_SECONDS)

    def watch(self) -> Child:
        """Show what they say until one ends by itself, and return that one."""
        while (child := self.ended()) is None:
            self._show_lines(POLL_SECONDS)
        return child

    def why_ended(self, child: Child) -> str:
        """The sentence about a child that ended by itself, with what it said unless that was shown."""
        child.clear()
        self._show_lines(0)
        said = "what it said is above." if self._show else "\n".join(["it said:", *list(child.said)[-LINES_TOLD:]])
        return f"{child.name} ended by itself (exit code {child.process.returncode}); {said}"

    def _hear(self, name: str, line: str) -> None:
        if self._show is not None:
            self._lines.put((name, line))  # printed by the main thread, which notices if nobody reads any more

    def _show_lines(self, wait_seconds: float) -> None:
        """Wait for a line, and show those that are there by then."""
        with contextlib.suppress(queue.Empty):
            line = self._lines.get(timeout=wait_seconds)
            for _ in range(self._lines.qsize()):
                self._shown(*line)
                line = self._lines.get_nowait()
            self._shown(*line)

    def _shown(self, name: str, line: str) -> None:
        if self._show is not None:
            self._show(name, line)

    def _end(self) -> None:
        self._signal(signal.SIGTERM)
        deadline = time.monotonic() + self._grace_seconds + MARGIN_SECONDS
        hurried = False
        while not all(child.has_ended() for child in self._all) and time.monotonic() < deadline:
            if self._interrupts.hurry and not hurried:
                hurried = True
                deadline = time.monotonic() + HURRY_SECONDS
                self._signal(signal.SIGQUIT)
            self._show_last_lines()
        for child in self._all:
            child.clear()
        self._show_last_lines()

    def _signal(self, number: int) -> None:
        for child in self._all:
            child.process.send_signal(number)

    def _show_last_lines(self) -> None:
        # Nobody may be there to read them.
        with contextlib.suppress(OSError, ValueError):
            self._show_lines(POLL_SECONDS)


_LIBC = ctypes.CDLL(None)


def _end_with_parent() -> None:
    # Not SIGTERM: the servers that an orderly end needs go with the command too.
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
