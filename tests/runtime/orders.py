"""A project of an application without a framework, as it looks when it is installed, for the tests of commands."""

import os
import subprocess
import sys
from pathlib import Path

from crewyard_runtime import Application
from crewyard_runtime.faulty import FaultySettings, Order, Result

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
