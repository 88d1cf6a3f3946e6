"""The commands that serve: `api`, `worker`.

A worker imports little before the fork server begins, which has the most to import: what the worker needs for itself
comes while the framework is imported there. `import sqlalchemy` alone is 0.2 s.
"""

import argparse
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from crewyard_runtime import logs
from crewyard_runtime.application import Application
from crewyard_runtime.cli.check import refuse
from crewyard_runtime.errors import NotReady, error_line
from crewyard_runtime.memory.backends import NotPossible, held_by_worker
from crewyard_runtime.sandbox import SandboxDown
from crewyard_runtime.settings import RuntimeSettings
from crewyard_runtime.startup import (
    EX_CONFIG,
    Problem,
    Startup,
    examine,
    examine_memory,
    examine_sandbox,
)

if TYPE_CHECKING:
    from crewyard_runtime.execution import Runner

APP_FACTORY = "crewyard_runtime.api.app:create_app"


def add_commands(commands: Any) -> None:
    """Add the commands."""
    api = commands.add_parser("api", help="serve the HTTP interface: takes runs in and tells how they go")
    api.add_argument("--host", default="127.0.0.1", help="the address to listen on (default 127.0.0.1)")
    api.add_argument("--port", type=int, default=8000, help="the port to listen on (default 8000)")
    api.add_argument("--workers", type=int, default=1, metavar="N", help="processes (default 1)")
    api.set_defaults(command=serve_api)
    worker = commands.add_parser("worker", help="do the runs that were taken in, one at a time")
    worker.set_defaults(command=work)


def serve_api(
    arguments: argparse.Namespace, app_factory: str = APP_FACTORY, applications: dict[str, Application] | None = None
) -> int:
    """Serve until a signal ends it. applications: in place of the project's own; the factory makes its own of them."""
    from crewyard_runtime.api.server import serve

    startup = examine(applications=applications, servers=True)
    if startup.problems or startup.service is None:
        return refuse(startup)
    serve(startup.service, arguments.host, arguments.port, arguments.workers, app_factory)
    return 0


def work(arguments: argparse.Namespace, applications: dict[str, Application] | None = None) -> int:
    """Do runs until a signal ends it. applications: in place of the project's own."""
    startup = examine(applications=applications, servers=True)
    if startup.problems or startup.settings is None or startup.service is None or startup.service.database_url is None:
        return refuse(startup)
    logs.configure()
    runner = _runner(startup)
    from sqlalchemy.exc import OperationalError

    from crewyard_runtime.execution import RunnerNotReady
    from crewyard_runtime.jobs.worker import Worker
    from crewyard_runtime.store import Database, SchemaBehind

    database = Database(startup.service.database_url.get_secret_value())
    try:
        database.ping()
    except OperationalError as error:
        print(f"the database cannot be reached yet: {error.orig}", file=sys.stderr)
    except SchemaBehind as error:
        print(error, file=sys.stderr)
        return EX_CONFIG
    if problems := _problems_of_servers(startup.settings):
        return refuse(replace(startup, problems=problems))
    settings = startup.settings
    try:
        with held_by_worker(settings):
            Worker(
                settings, startup.service, database, startup.applications, startup.application_settings, runner
            ).run()
    except (RunnerNotReady, NotPossible, OSError) as error:
        raise NotReady(str(error)) from error
    return 0


def _runner(startup: Startup) -> "Runner":
    """What forks runs. It imports the framework in a process of its own, while this one imports and asks the rest."""
    from crewyard_runtime.execution import Runner

    assert startup.settings is not None
    runner = Runner(startup.settings, list(startup.applications.values()))
    try:
        runner.begin()
    except OSError as error:
        raise NotReady(str(error)) from error
    return runner


def _problems_of_servers(settings: RuntimeSettings) -> list[Problem]:
    """What the memory and the sandbox say of themselves; one that cannot be asked may come later, and runs go on."""
    problems: list[Problem] = []
    try:
        problems += examine_memory(settings)
    except Exception as error:
        print(
            f"the memory cannot be asked, and runs go on without it until it can: {error_line(error)}", file=sys.stderr
        )
    try:
        problems += examine_sandbox(settings)
    except SandboxDown as error:
        print(f"{error} Until it does, runs go on and execute no code.", file=sys.stderr)
    return problems
