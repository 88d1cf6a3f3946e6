"""A project of an application without a framework, as it looks when it is installed, for the tests of commands."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable
from pathlib import Path

import psutil
from crewyard_runtime import Application
from crewyard_runtime.faulty import FaultySettings, Order, Result
from crewyard_runtime.testing.service import until

SECONDS = 60

application = Application(
    name="orders",
    input=Order,
    output=Result,
    settings=FaultySettings,
    build="crewyard_runtime.faulty:build",
    examples="runtime/orders.jsonl",
)
# What the startup validation cannot see: it imports no build module.
crashing = Application(name="orders", input=Order, output=Result, build="runtime.crashing:build")


def make_project(place: Path, application: str = "application") -> None:
    """Write the project's files; `application` is a name in this module."""
    declared = place / "orders-1.0.dist-info"
    declared.mkdir(exist_ok=True)
    (declared / "METADATA").write_text("Metadata-Version: 2.1\nName: orders\nVersion: 1.0\n")
    (declared / "entry_points.txt").write_text(f"[crewyard.applications]\norders = runtime.orders:{application}\n")
    (place / "platform.toml").write_text('framework = "plain"\n')


def start(place: Path, *arguments: str, **environment: str) -> "subprocess.Popen[str]":
    """Start the command in the project, with no other variables than those it needs, in a terminal of its own."""
    known = {name: os.environ[name] for name in ("PATH", "HOME")}
    return subprocess.Popen(
        [sys.executable, "-m", "crewyard_runtime", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=place,
        start_new_session=True,
        env={
            **known,
            "PYTHONPATH": f"{place}{os.pathsep}{Path(__file__).parent.parent}",
            "WRITABLE_DIR": str(place / "writable"),
            **environment,
        },
    )


class Command:
    """A running command, and what it has said on both streams."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.said: list[str] = []
        streams = (process.stdout, process.stderr)
        self._readers = [threading.Thread(target=self._read, args=(stream,), daemon=True) for stream in streams]
        for reader in self._readers:
            reader.start()

    def until_said(self, words: str) -> str:
        """The line that says it."""

        def find() -> str | None:
            ended = self.process.poll() is not None
            found = next((line for line in self.text.splitlines() if words in line), None)
            assert found or not ended, f"it ended and had not said {words!r}, but: {self.text}"
            return found

        return until(f"that it says {words!r} (it said: {self.text})", find, SECONDS)

    @property
    def text(self) -> str:
        """All that it has said; once it has ended, to the end."""
        if self.process.poll() is not None:
            for reader in self._readers:
                reader.join(SECONDS)
        return "".join(self.said)

    def family(self) -> list[psutil.Process]:
        """Every process below the command."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def end(self, number: int = signal.SIGINT) -> int:
        """Send a signal, and give the exit code. Ctrl-C in a terminal is for the whole group."""
        if number == signal.SIGINT:
            os.killpg(self.process.pid, number)
        else:
            self.process.send_signal(number)
        return self.process.wait(SECONDS)

    def _read(self, stream: Iterable[str]) -> None:
        self.said.extend(stream)
