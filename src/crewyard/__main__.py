"""The command `crewyard`: its subcommands."""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from crewyard.errors import NotPossible

# The module of each, so that none waits for what the others import.
COMMANDS = {
    "doctor": "crewyard.doctor.command",
    "new": "crewyard.new",
    "update": "crewyard.update",
    "fleet": "crewyard.fleet",
    "team": "crewyard.team",
}
NOT_POSSIBLE = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand and return its exit code."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    parser = argparse.ArgumentParser(prog="crewyard", description="Agent services that survive production.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    named = COMMANDS.get("".join(given[:1]))
    for module in [named] if named else COMMANDS.values():
        import_module(module).add_to(commands)
    chosen = parser.parse_args(given)
    try:
        code: int = chosen.run(chosen)
    except NotPossible as error:
        print(error, file=sys.stderr)
        return NOT_POSSIBLE
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return code


if __name__ == "__main__":
    raise SystemExit(main())
