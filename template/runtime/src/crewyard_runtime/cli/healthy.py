"""The command `healthy`: what a container's engine asks."""

import argparse
import sys
from typing import Any

from crewyard_runtime import alive


def add_commands(commands: Any) -> None:
    """Add `healthy`."""
    healthy = commands.add_parser("healthy", help="whether this container's gateway or worker lives (exit code 0)")
    healthy.set_defaults(command=_healthy)


def _healthy(arguments: argparse.Namespace) -> int:
    trouble = alive.trouble()
    if trouble:
        print(trouble, file=sys.stderr)
    return 1 if trouble else 0
