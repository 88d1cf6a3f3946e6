"""The command `crewyard`: its subcommands."""

import argparse
from collections.abc import Sequence

from crewyard.doctor import command as doctor


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand and return its exit code."""
    parser = argparse.ArgumentParser(prog="crewyard", description="Agent services that survive production.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    doctor.add_to(commands)
    chosen = parser.parse_args(arguments)
    code: int = chosen.run(chosen)
    return code


if __name__ == "__main__":
    raise SystemExit(main())
