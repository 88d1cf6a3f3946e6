"""`crewyard doctor`: finds what will fail in production, without running anything; exit code 1 if there is an error."""

import argparse
import gc
import os
import sys
from pathlib import Path
from typing import Any

from crewyard.doctor.check import check, is_empty
from crewyard.doctor.report import FORMATS

FOUND, WRONG_USAGE = 1, 2


def add_to(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the subcommand and its arguments."""
    parser = commands.add_parser(
        "doctor", help="find what will fail in production, without running anything", description=__doc__
    )
    parser.add_argument("paths", metavar="PATH", nargs="+", type=Path, help="a project's directory, or a file of it")
    parser.add_argument("--format", choices=sorted(FORMATS), default="text", help="default: text")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the report. Returns 0, 1 if there is an error, 2 if there is nothing to read."""
    for path in arguments.paths:
        if not path.exists():
            print(f"{path} does not exist: give the directory of a project", file=sys.stderr)
            return WRONG_USAGE
    if is_empty(arguments.paths):
        print(
            f"{arguments.paths[0]} holds no Python file, Dockerfile or compose file: give the directory of a project",
            file=sys.stderr,
        )
        return WRONG_USAGE
    gc.disable()  # millions of nodes that live to the end: the collector would walk them again and again
    try:
        report = check(arguments.paths)
    finally:
        gc.enable()
    _print(FORMATS[arguments.format](report))
    return FOUND if report.errors else 0


def _print(text: str) -> None:
    """Print to whatever reads: a terminal that has not all characters, or a `head` that goes away."""
    encoding = sys.stdout.encoding or "utf-8"
    try:
        print(text.encode(encoding, "backslashreplace").decode(encoding), flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter complains when it ends
