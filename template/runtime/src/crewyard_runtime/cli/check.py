"""The command `check`, and the table by which every command refuses to start."""

import argparse
from dataclasses import replace
from typing import Any

from crewyard_runtime.errors import error_line
from crewyard_runtime.sandbox import SandboxDown
from crewyard_runtime.settings import MEMORY_VARIABLES, RuntimeSettings
from crewyard_runtime.startup import EX_CONFIG, Problem, Startup, examine, examine_memory, examine_sandbox

UNASKED = "the memory cannot be asked whether it is locked, so mend this, or run `migrate` if its role is not made yet"


def add_commands(commands: Any) -> None:
    """Add `check`."""
    check = commands.add_parser("check", help="validate every setting; exit code 78 names all that is missing")
    check.set_defaults(command=_check)


def _check(arguments: argparse.Namespace) -> int:
    startup = _with_servers(examine())
    if startup.problems:
        return refuse(startup)
    assert startup.settings is not None
    names = ", ".join(startup.applications)
    print(f"ready: {names} on {startup.settings.model_fast} and {startup.settings.model_strong}")
    assert startup.service is not None
    servers: dict[str, object] = {
        "DATABASE_URL": startup.service.database_url,
        "BROKER_URL": startup.service.broker_url,
    }
    if startup.settings.memory != "none":
        servers[MEMORY_VARIABLES[startup.settings.memory]] = startup.settings.memory_server()
    if unset := [name for name, place in servers.items() if place is None]:
        names = " and ".join(filter(None, [", ".join(unset[:-1]), unset[-1]]))
        print(f"not set: {names}; embedded servers stand in here, and production must name its own")
    if startup.settings.code_execution == "local":
        print("code of a model is executed on this machine, with limits: for development, and refused in production")
    return 0


def _with_servers(startup: Startup) -> Startup:
    """What was found, and what the memory and the sandbox say of themselves, if all else is as it must be."""
    if startup.problems or startup.settings is None:
        return startup
    return replace(startup, problems=[*_memory_problems(startup.settings), *_sandbox_problems(startup.settings)])


def _memory_problems(settings: RuntimeSettings) -> list[Problem]:
    try:
        return list(examine_memory(settings))
    except Exception as error:
        return [Problem(MEMORY_VARIABLES[settings.memory], f"{UNASKED}: {error_line(error)}")]


def _sandbox_problems(settings: RuntimeSettings) -> list[Problem]:
    try:
        return list(examine_sandbox(settings))
    except SandboxDown as error:
        return [Problem("DOCKER_HOST", str(error))]


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
