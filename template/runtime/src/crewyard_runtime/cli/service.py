"""The commands that serve: `api`, `worker`, `migrate`, `prune`."""

import argparse
import sys
from typing import Any

from crewyard_runtime import logs
from crewyard_runtime.application import Application
from crewyard_runtime.cli.check import refuse
from crewyard_runtime.cli.database import connect, open_database
from crewyard_runtime.errors import NotReady
from crewyard_runtime.execution.processes import keep_private
from crewyard_runtime.startup import EX_CONFIG, examine, examine_database
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
    prune = commands.add_parser("prune", help="delete runs that ended longer ago than RETENTION_DAYS")
    prune.set_defaults(command=_prune)


def serve_api(
    arguments: argparse.Namespace, app_factory: str = APP_FACTORY, applications: dict[str, Application] | None = None
) -> int:
    """Serve until a signal ends it. applications: in place of the project's own; the factory makes its own of them."""
    from crewyard_runtime.api.server import serve

    keep_private()
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

    keep_private()
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
    try:
        Worker(startup.settings, startup.service, database, startup.applications, startup.application_settings).run()
    except (RunnerNotReady, OSError) as error:
        raise NotReady(str(error)) from error
    return 0


def _migrate(arguments: argparse.Namespace) -> int:
    startup = examine_database()
    if startup.problems or startup.service is None:
        return refuse(startup)
    with connect(startup.service) as database:
        print(f"the database is at version {database.migrate()}")
    return 0


def _prune(arguments: argparse.Namespace) -> int:
    startup = examine_database()
    if startup.problems or startup.service is None:
        return refuse(startup)
    days, pruned = startup.service.retention_days, 0
    with open_database(startup.service) as database:
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
    return 0
