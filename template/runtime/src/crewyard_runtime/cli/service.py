"""The commands that serve: `api`, `worker`, `migrate`, `prune`."""

import argparse
import sys
from dataclasses import replace
from typing import Any

from crewyard_runtime import logs
from crewyard_runtime.application import Application
from crewyard_runtime.cli.check import refuse
from crewyard_runtime.cli.database import Opened, connect, open_database
from crewyard_runtime.errors import NotReady, error_line
from crewyard_runtime.memory.access import migration
from crewyard_runtime.memory.backends import NotPossible, held_by_worker, load_backend
from crewyard_runtime.sandbox import SandboxDown
from crewyard_runtime.settings import RuntimeSettings
from crewyard_runtime.startup import EX_CONFIG, Problem, examine, examine_database, examine_memory, examine_sandbox
from crewyard_runtime.store import Database, SchemaBehind, audit, rates, runs

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
    migrate = commands.add_parser("migrate", help="bring the database to this release's schema")
    migrate.set_defaults(command=_migrate)
    prune = commands.add_parser("prune", help="delete runs and memories older than their RETENTION_DAYS")
    prune.set_defaults(command=_prune)


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
    from sqlalchemy.exc import OperationalError

    from crewyard_runtime.execution import RunnerNotReady
    from crewyard_runtime.jobs.worker import Worker

    startup = examine(applications=applications, servers=True)
    if startup.problems or startup.settings is None or startup.service is None or startup.service.database_url is None:
        return refuse(startup)
    logs.configure()
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
            Worker(settings, startup.service, database, startup.applications, startup.application_settings).run()
    except (RunnerNotReady, NotPossible, OSError) as error:
        raise NotReady(str(error)) from error
    return 0


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


def _migrate(arguments: argparse.Namespace) -> int:
    from sqlalchemy.exc import ProgrammingError

    startup = examine_database(memory=True)
    if startup.problems or startup.service is None or startup.settings is None:
        return refuse(startup)
    with connect(startup.service, startup.settings) as opened:
        try:
            print(f"the database is at version {opened.database.migrate(migration(opened.settings))}")
        except ProgrammingError as error:
            msg = (
                f"the database refused: {error.orig}. The memory needs the extension `vector` and the role that "
                "MEMORY_DATABASE_URL names; an administrator of the database may make both, then run this again."
            )
            raise NotReady(msg) from error
    return 0


def _prune(arguments: argparse.Namespace) -> int:
    startup = examine_database(memory=True)
    if startup.problems or startup.service is None or startup.settings is None:
        return refuse(startup)
    with open_database(startup.service, startup.settings) as opened:
        _prune_runs(opened.database, startup.service.retention_days)
        if opened.settings.memory != "none":
            _prune_memories(opened, startup.service.memory_retention_days)
    return 0


def _prune_runs(database: Database, days: float) -> None:
    pruned = 0
    while True:
        with database.transaction() as tx:
            batch = runs.prune(tx, days)
        pruned += batch
        if not batch:
            break
    with database.transaction() as tx:
        rates.forget(tx)
        audit.record(tx, "cli", "runs.pruned", f"{pruned} runs older than {days:g} days")
    print(f"{pruned} runs that ended more than {days:g} days ago were deleted")


def _prune_memories(opened: Opened, days: float) -> None:
    try:
        pruned = load_backend(opened.settings).prune(opened.settings, opened.database.engine, days)
    except NotPossible as error:
        print(error)
        return
    with opened.database.transaction() as tx:
        audit.record(tx, "cli", "memory.pruned", f"{pruned} memories older than {days:g} days")
    print(f"{pruned} memories that are older than {days:g} days were deleted")
