"""The commands that keep the database in order: `migrate`, `prune`."""

import argparse
from typing import Any

from crewyard_runtime.cli.check import refuse
from crewyard_runtime.cli.database import Opened, connect, open_database
from crewyard_runtime.errors import NotReady
from crewyard_runtime.memory.access import migration
from crewyard_runtime.memory.backends import NotPossible, load_backend
from crewyard_runtime.startup import examine_database
from crewyard_runtime.store import Database, audit, rates, runs


def add_commands(commands: Any) -> None:
    """Add the commands."""
    migrate = commands.add_parser("migrate", help="bring the database to this release's schema")
    migrate.set_defaults(command=_migrate)
    prune = commands.add_parser("prune", help="delete runs and memories older than their RETENTION_DAYS")
    prune.set_defaults(command=_prune)


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
