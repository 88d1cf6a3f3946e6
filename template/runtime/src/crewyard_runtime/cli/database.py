"""The database of a command: the one that is named, or the project's embedded one."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from crewyard_runtime import embedded
from crewyard_runtime.errors import NotReady
from crewyard_runtime.memory.access import migration
from crewyard_runtime.settings import RuntimeSettings, ServiceSettings, find_project
from crewyard_runtime.store import Database, SchemaBehind


def data_directory() -> Path:
    """Where the embedded servers of this project keep their data; git ignores it. Raises NotReady."""
    place = (find_project() or Path.cwd()) / ".crewyard"
    try:
        place.mkdir(exist_ok=True)
        (place / ".gitignore").write_text("*\n")
    except OSError as error:
        msg = f"{place} cannot be written ({error.strerror}): name a Postgres by DATABASE_URL, or make room."
        raise NotReady(msg) from error
    return place


def stands_in(wanted: RuntimeSettings, found: RuntimeSettings) -> str | None:
    """The sentence that says so, where something stands in for the memory that a project has chosen."""
    if wanted.memory == found.memory:
        return None
    if found.memory == "none":
        return "MEMORY_DIR is not set: nothing is remembered here"
    return f"The server of the memory ({wanted.memory}) is not named: memories are in the project's own Postgres here"


@dataclass(frozen=True)
class Opened:
    """A database, and the runtime's settings as they are on it: an embedded one has a role for the memory."""

    database: Database
    settings: RuntimeSettings


@contextmanager
def open_database(service: ServiceSettings, settings: RuntimeSettings, connections: int = 5) -> Iterator[Opened]:
    """The database, with the schema of this release: the embedded one is migrated, a named one is asked.

    Raises NotReady if it cannot be used, and for a named one with an older schema: migrating that is a command of its
    own.
    """
    with connect(service, settings, connections) as opened:
        if service.database_url is None:
            opened.database.migrate(migration(opened.settings))
        else:
            opened.database.ping()
        yield opened


@contextmanager
def connect(service: ServiceSettings, settings: RuntimeSettings, connections: int = 5) -> Iterator[Opened]:
    """The database as it is. Raises NotReady, also for what happens to it while it is used."""
    wanted = settings
    try:
        with ExitStack() as stack:
            if service.database_url is not None:
                url = service.database_url.get_secret_value()
            else:
                place = data_directory()
                print(f"DATABASE_URL is not set: this is the project's own Postgres, in {place}", file=sys.stderr)
                url = stack.enter_context(embedded.postgres(place))
                settings = settings.on_embedded(url)
                if sentence := stands_in(wanted, settings):
                    print(sentence, file=sys.stderr)
            database = Database(url, connections)
            stack.callback(database.close)
            yield Opened(database, settings)
    except (embedded.ServerNotStarted, SchemaBehind) as error:
        raise NotReady(str(error)) from error
    except SQLAlchemyError as error:
        msg = f"the database cannot be used: {error.__cause__ or error}"
        raise NotReady(msg) from error
