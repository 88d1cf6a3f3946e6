"""The command line: its groups of commands, and how each way to end becomes an exit code."""

import argparse
import logging
import os
import signal
import sys
from importlib import import_module
from typing import Any, NoReturn

from crewyard_runtime.errors import NotReady
from crewyard_runtime.privacy import keep_private

EX_INTERRUPTED = 130
# The module of each command, so that one is not kept waiting by what the others need.
COMMANDS = {
    "check": "check",
    "run": "batch",
    "demo": "demo",
    "dev": "dev",
    "api": "service",
    "worker": "service",
    "migrate": "upkeep",
    "prune": "upkeep",
    "runs": "runs",
    "keys": "keys",
    "memory": "memory",
    "secrets": "secrets",
    "healthy": "healthy",
}


def run_command() -> NoReturn:
    """Run the command line and exit."""
    keep_private()
    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("crewyard").setLevel(logging.INFO)
    parser = argparse.ArgumentParser(description="Runs this project's agents.", allow_abbrev=False)
    commands = parser.add_subparsers(required=True, metavar="command")
    named = COMMANDS.get("".join(sys.argv[1:2]))
    for module in [named] if named else dict.fromkeys(COMMANDS.values()):
        import_module(f"crewyard_runtime.cli.{module}").add_commands(commands)
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        code = arguments.command(arguments)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        code = EX_INTERRUPTED
    except NotReady as error:
        print(f"not ready: {error}", file=sys.stderr)
        code = 1
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    sys.exit(code)


def _interrupt(signum: int, frame: Any) -> NoReturn:
    raise KeyboardInterrupt
