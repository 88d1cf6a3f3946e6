"""Recorders by audit hooks: what holds up an event loop, and what runs generated code."""

import asyncio
import os
import re
import socket
import sys
import time
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, SupportsIndex

from crewyard_runtime.testing.failures import Finding
from crewyard_runtime.testing.team import Team

WAITS = {
    "time.sleep": "time.sleep",  # an event since Python 3.13; raised here before
    "socket.connect": "a blocking connection",
    "subprocess.Popen": "a subprocess that is waited for",
    "os.system": "a shell that is waited for",
}
WATCHED = {*WAITS, "exec"}
# What runs the code that it is given; `python -m` runs a module that is installed.
INTERPRETERS = re.compile(r"^(sh|bash|dash|zsh|ash|python[\d.]*|ipython3?|node|deno|bun|ruby|perl|php|R|Rscript)$")


class Audited:
    """Collects while `active`. An audit hook cannot be removed, so there is one a process, made before the team's code.

    blocked: calls that wait in a coroutine of the team. executed: code that the team runs and that no file of it holds.
    """

    def __init__(self, team: Team) -> None:
        self.blocked: list[Finding] = []
        self.executed: list[Finding] = []
        self.active = False
        self._team = team
        sys.addaudithook(self._hook)
        if sys.version_info < (3, 13):
            sleep = time.sleep

            def audited(seconds: float | SupportsIndex) -> None:
                sys.audit("time.sleep", seconds)
                sleep(seconds)

            time.sleep = audited

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.active or event not in WATCHED:  # asking for a frame is an event, too
            return
        frame = sys._getframe(1)
        if event in WAITS and (where := self._blocks(event, arguments, frame)):
            self.blocked.append(Finding(f"{WAITS[event]} in a coroutine holds up the event loop", where))
        what = _executed(event, arguments)
        if what and (event != "exec" or self._team.owns(frame.f_code.co_filename)):
            where = self._team.starter(frame)
            self.executed += [Finding(what, where)] if where else []

    def _blocks(self, event: str, arguments: tuple[Any, ...], frame: FrameType) -> str | None:
        if asyncio._get_running_loop() is None:
            return None
        connection = arguments[0] if arguments else None
        if event == "socket.connect" and isinstance(connection, socket.socket) and connection.gettimeout() == 0:
            return None
        return self._team.coroutine(frame)


def _executed(event: str, arguments: tuple[Any, ...]) -> str | None:
    """What code is run by this, if it is none of an installed module or program."""
    if event == "exec":
        code = arguments[0]
        generated = isinstance(code, CodeType) and not Path(code.co_filename).exists()
        return "exec or eval runs text as code" if generated else None
    if event == "os.system":
        return "os.system runs text as code, in a shell"
    if event == "subprocess.Popen":
        program, given = arguments[0], [os.fsdecode(each) for each in arguments[1]]
        name = Path(os.fsdecode(program or given[0])).name
        if INTERPRETERS.match(name) and given[1:2] != ["-m"]:
            return f"{name} is started, which runs what it is given on this machine"
    return None
