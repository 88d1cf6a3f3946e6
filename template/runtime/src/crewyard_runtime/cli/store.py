"""The way into the store, for the commands that need nothing else: no model, no application, no broker."""

import argparse
from collections.abc import Callable

from crewyard_runtime.cli.check import refuse
from crewyard_runtime.cli.database import open_database
from crewyard_runtime.settings import ServiceSettings
from crewyard_runtime.startup import examine_database
from crewyard_runtime.store import Database

StoreCommand = Callable[[argparse.Namespace, Database, ServiceSettings], int]


def on_store(command: StoreCommand) -> Callable[[argparse.Namespace], int]:
    """The command as the parser calls it: with the database open, or refused with what is missing."""

    def run(arguments: argparse.Namespace) -> int:
        startup = examine_database()
        if startup.problems or startup.service is None or startup.settings is None:
            return refuse(startup)
        with open_database(startup.service, startup.settings) as opened:
            return command(arguments, opened.database, startup.service)

    return run
