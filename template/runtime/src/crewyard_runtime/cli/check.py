"""The command `check`, and the table by which every command refuses to start."""

import argparse
from typing import Any

from crewyard_runtime.startup import EX_CONFIG, Startup, examine


def add_commands(commands: Any) -> None:
    """Add `check`."""
    check = commands.add_parser("check", help="validate every setting; exit code 78 names all that is missing")
    check.set_defaults(command=_check)


def _check(arguments: argparse.Namespace) -> int:
    startup = examine()
    if startup.problems:
        return refuse(startup)
    assert startup.settings is not None
    names = ", ".join(startup.applications)
    print(f"ready: {names} on {startup.settings.model_fast} and {startup.settings.model_strong}")
    assert startup.service is not None
    servers = {"DATABASE_URL": startup.service.database_url, "BROKER_URL": startup.service.broker_url}
    if unset := [name for name, url in servers.items() if url is None]:
        print(f"not set: {' and '.join(unset)}; embedded servers stand in here, and production must name its own")
    return 0


def refuse(startup: Startup) -> int:
    """Print every problem and return the exit code for them."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title="Not ready to start", title_justify="left")
    table.add_column("name", no_wrap=True)
    table.add_column("problem")
    table.add_column("example", overflow="fold")
    for problem in startup.problems:
        table.add_row(problem.name, problem.problem, problem.example)
    console = Console(stderr=True, markup=False, highlight=False)
    console.width = max(console.width, 120)
    console.print(table)
    return EX_CONFIG
