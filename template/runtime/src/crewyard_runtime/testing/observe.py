"""Recorders for the probe: who reads the environment, writes files, starts threads, keeps objects."""

import gc
import os
import re
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType
from typing import Any

from crewyard_runtime.testing.failures import Finding
from crewyard_runtime.testing.team import Team
from crewyard_runtime.tools import ToolGuard


class _RecordingEnviron(os._Environ[str]):
    note: Callable[[str, FrameType], None]

    def __getitem__(self, key: str) -> str:
        self.note(key, sys._getframe(1))
        return super().__getitem__(key)

    def __iter__(self) -> Iterator[str]:
        self.note("all of it", sys._getframe(1))
        return super().__iter__()


@contextmanager
def environment_reads(team: Team) -> Iterator[list[Finding]]:
    """Collect the reads of environment variables that the team's code does, by itself or by making settings."""
    found: list[Finding] = []

    def note(variable: str, frame: FrameType) -> None:
        if where := team.reader(frame):
            found.append(Finding(f"the environment is read: {variable}", where))

    before = os.environ
    recorder = _RecordingEnviron.__new__(_RecordingEnviron)
    recorder.__dict__.update(before.__dict__)
    recorder.note = note
    os.environ = recorder  # noqa: B003 - the process keeps its environment, only the view of it is another
    try:
        yield found
    finally:
        os.environ = before  # noqa: B003


class FileWrites:
    """Collects writes outside the allowed directories. An audit hook cannot be removed, so there is one a process."""

    def __init__(self, team: Team, allowed: list[Path]) -> None:
        self.found: list[Finding] = []
        self.allowed = [str(place.resolve()) for place in allowed]
        self.active = False
        self._team = team
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.active:
            return
        path = _written(event, arguments)
        if path is None:
            return
        place = os.path.realpath(path)
        if not place.startswith((*self.allowed, "/dev/", "/proc/")) and "__pycache__" not in place:
            self.found.append(Finding(f"{place} is written", self._team.nearest(sys._getframe(1))))


def _written(event: str, arguments: tuple[Any, ...]) -> str | None:
    if event == "open":
        path, mode, flags = arguments
        writes = any(letter in (mode or "") for letter in "wax+") or bool((flags or 0) & (os.O_WRONLY | os.O_RDWR))
        return os.fsdecode(path) if writes and isinstance(path, str | bytes) else None
    if event in ("os.mkdir", "sqlite3.connect"):
        path = arguments[0]
        return (
            os.fsdecode(path)
            if isinstance(path, str | bytes) and not str(path).startswith((":memory:", "file:"))
            else None
        )
    return None


@contextmanager
def thread_use(team: Team, bound: int) -> Iterator[list[Finding]]:
    """Collect pools of more than `bound` threads, and more live threads or processes, that the team's code starts."""
    found: list[Finding] = []
    started: list[threading.Thread | BaseProcess] = []
    make_pool, start_thread, start_process = ThreadPoolExecutor.__init__, threading.Thread.start, BaseProcess.start

    def pool_init(pool: ThreadPoolExecutor, max_workers: int | None = None, *args: Any, **kwargs: Any) -> None:
        make_pool(pool, max_workers, *args, **kwargs)
        caller = sys._getframe(1)
        if caller.f_code.co_filename.endswith("base_events.py"):
            return  # the pool of asyncio.to_thread, as large as the machine says; its threads are counted
        if pool._max_workers > bound and (where := team.starter(caller)):
            found.append(Finding(f"a pool of {pool._max_workers} threads, and the limit is {bound}", where))

    def note(thing: threading.Thread | BaseProcess, what: str) -> None:
        if where := team.starter(sys._getframe(2)):
            alive = 1 + sum(each.is_alive() for each in started)
            started.append(thing)
            if alive > bound:
                found.append(Finding(f"{alive} {what} at once, and the limit is {bound}", where))

    def thread_start(thread: threading.Thread) -> None:
        note(thread, "threads")
        start_thread(thread)

    def process_start(process: BaseProcess) -> None:
        note(process, "processes")
        start_process(process)

    ThreadPoolExecutor.__init__ = pool_init  # type: ignore[assignment,method-assign]
    threading.Thread.start = thread_start  # type: ignore[assignment,method-assign]
    BaseProcess.start = process_start  # type: ignore[assignment,method-assign]
    try:
        yield found
    finally:
        ThreadPoolExecutor.__init__ = make_pool  # type: ignore[method-assign]
        threading.Thread.start, BaseProcess.start = start_thread, start_process  # type: ignore[method-assign]


class ToolCalls:
    """Compares the tool calls that a framework reports with those that went through the run's tool guard."""

    def __init__(self) -> None:
        self._reported: set[str] = set()
        self._guarded: set[str] = set()
        self._hanging: list[Finding] = []
        self.events: list[str] = []

    def report(self, event: str, data: dict[str, Any]) -> None:
        """Take an event of a run. A tool by which agents delegate is bounded by the delegation guard instead."""
        self.events.append(f"{event} {data}")
        if "gave no answer within" in str(data.get("error")):
            self._hanging.append(Finding(f"the tool {data['tool']} does not end: {data['error']}"))
        if event == "tool.called" and "coworker" not in data["tool"]:
            self._reported.add(_plain_name(data["tool"]))

    def unguarded(self) -> list[Finding]:
        """A finding for each tool that was called past the guard, or ran into its limit."""
        past = [Finding(f"the tool {name} has no time limit") for name in sorted(self._reported - self._guarded)]
        return past + self._hanging

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Note what goes through the guard."""
        call, acall = ToolGuard.call, ToolGuard.acall

        def noting(way: Callable[..., Any]) -> Callable[..., Any]:
            def noted(guard: ToolGuard, name: str, /, *args: Any, **kwargs: Any) -> Any:
                self._guarded.add(_plain_name(name))
                return way(guard, name, *args, **kwargs)

            return noted

        ToolGuard.call, ToolGuard.acall = noting(call), noting(acall)  # type: ignore[method-assign]
        try:
            yield
        finally:
            ToolGuard.call, ToolGuard.acall = call, acall  # type: ignore[method-assign]


def _plain_name(name: str) -> str:
    return re.sub(r"\W+", "_", name).strip("_").lower()


@dataclass
class Birth:
    """An object of interest: what holds it weakly, the team's line that made it, and when."""

    thing: Callable[[], object | None]
    kind: str
    where: str | None
    phase: str


class Births:
    """Notes each object of the given types that is made from now on, and where; `phase` says what is going on."""

    def __init__(self, team: Team, kinds: tuple[type, ...]) -> None:
        self.phase = ""
        self.born: list[Birth] = []
        for kind in kinds:
            self._watch(kind, team)

    def number(self, thing: object) -> int:
        """The place of an object in `born`; -1 if it was made before, or by other means."""
        return next((at for at, birth in enumerate(self.born) if birth.thing() is thing), -1)

    def living(self, phase: str) -> list[Birth]:
        """What was made in a phase and is still there."""
        gc.collect()
        return [birth for birth in self.born if birth.phase == phase and birth.thing() is not None]

    def _watch(self, kind: type, team: Team) -> None:
        made: Callable[..., None] = vars(kind).get("__init__") or kind.__init__  # type: ignore[misc]

        def init(thing: Any, *args: Any, **kwargs: Any) -> None:
            if not any(birth.thing() is thing for birth in self.born[-4:]):  # a subclass calls its base's
                where = team.nearest(sys._getframe(1))
                self.born.append(Birth(weakref.ref(thing), type(thing).__name__, where, self.phase))
            made(thing, *args, **kwargs)

        kind.__init__ = init  # type: ignore[misc]
