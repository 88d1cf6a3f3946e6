"""Process matters of a run: no left-overs when it ends, no peeking from its neighbours."""

import contextlib
import ctypes
import os
import sys
import time
from collections.abc import Callable

import psutil

from crewyard_runtime.privacy import keep_private

_PR_SET_CHILD_SUBREAPER = 36


def kill_run(leader: psutil.Process) -> None:
    """Kill the process of a run with all it started: its session and its descendants, whatever session they made.

    Nothing is left when this returns. The run's process is stopped first, so that it starts nothing meanwhile; and it
    adopts its orphaned descendants (`own_session`), so that they can be found.
    """
    with contextlib.suppress(psutil.NoSuchProcess):
        leader.suspend()
    _kill_while(lambda: _members(leader))


def kill_descendants() -> None:
    """Kill what this process started and left running."""
    if not _has_children():
        return
    me = psutil.Process()
    _kill_while(lambda: [child for child in me.children(recursive=True) if _alive(child)])


def _has_children() -> bool:
    """Whether there is anything to look for among all processes; orphans are this one's children (`own_session`)."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _kill_while(left: Callable[[], list[psutil.Process]]) -> None:
    while victims := left():
        for victim in victims:
            with contextlib.suppress(psutil.NoSuchProcess):
                victim.kill()
        # Not psutil.wait_procs: a container's process 1 may never reap, and it would wait for a zombie.
        time.sleep(0.005)


def _members(leader: psutil.Process) -> list[psutil.Process]:
    found: dict[int, psutil.Process] = {}
    with contextlib.suppress(psutil.NoSuchProcess):
        found = {process.pid: process for process in (*leader.children(recursive=True), leader)}
    for other in psutil.pids():
        with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess, PermissionError):
            if other not in found and os.getsid(other) == leader.pid:
                found[other] = psutil.Process(other)
    return [process for process in found.values() if _alive(process)]


def _alive(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    return False


def own_session() -> None:
    """Make this process the leader of a session of its own that adopts its orphans and that no other may look into.

    On Linux; elsewhere a tool's subprocess that leaves the session may outlive the run.
    """
    os.setsid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    keep_private()
