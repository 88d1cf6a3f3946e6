"""The connections to Postgres, and the schema's version."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import sqlalchemy
from pydantic_core import PydanticSerializationError, to_json
from sqlalchemy import URL, Connection, make_url, text

MIGRATIONS = Path(__file__).parent / "migrations"
MIGRATION_LOCK = 7_261_001  # any number that nothing else in this database locks
CONNECT_SECONDS = 5
# So that the end of a server which never said goodbye is noticed within seconds, and not when TCP gives up.
ALIVE: dict[str, Any] = {
    "connect_timeout": CONNECT_SECONDS,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}
# A client that is frozen inside a transaction would hold its locks for as long as it is frozen. This ends it between
# two statements, but not inside of a pipeline, where Postgres counts it as active: so no executemany (psycopg).
SESSION = "-c idle_in_transaction_session_timeout=5s -c lock_timeout=10s -c timezone=UTC"


class SchemaBehind(Exception):
    """The database has not the tables that this release needs; the message says which command makes them."""


def engine_url(url: str) -> URL:
    """The URL as SQLAlchemy needs it."""
    return make_url(url).set(drivername="postgresql+psycopg")


def engine_options(connections: int) -> dict[str, Any]:
    """What all engines have in common."""
    return {
        "pool_size": connections,
        "max_overflow": 0,
        "pool_timeout": CONNECT_SECONDS,
        "json_serializer": _to_json,
        "connect_args": {**ALIVE, "options": SESSION, "application_name": "crewyard"},
    }


class Database:
    """One Postgres. Safe to use from several threads; each transaction takes a connection of the pool.

    url: `postgresql://...`, as any tool writes it. connections: how many at most; whoever needs one more waits.
    Errors are SQLAlchemy's: OperationalError for a server that is not there or has no room.
    """

    def __init__(self, url: str, connections: int = 5) -> None:
        self.url = engine_url(url)
        self.engine = sqlalchemy.create_engine(self.url, pool_pre_ping=True, **engine_options(connections))
        self._statements = self.engine.execution_options(isolation_level="AUTOCOMMIT")

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A connection whose statements all happen, or none."""
        with self.engine.begin() as connection:
            yield connection

    @contextmanager
    def statements(self) -> Iterator[Connection]:
        """A connection whose statements happen one by one: none keeps a lock until the next one."""
        with self._statements.connect() as connection:
            yield connection

    @contextmanager
    def listening(self, channel: str) -> Iterator[Any]:
        """A connection of psycopg's, for `notifies`, that nobody uses afterwards. Raises `driver_error`, too."""
        connection = self.engine.raw_connection()
        try:
            driver: Any = connection.driver_connection
            driver.autocommit = True
            driver.execute(f"LISTEN {channel}")
            yield driver
        finally:
            connection.invalidate()

    @property
    def driver_error(self) -> type[Exception]:
        """What psycopg raises where SQLAlchemy does not stand between."""
        error: type[Exception] = self.engine.dialect.loaded_dbapi.Error
        return error

    def ping(self) -> None:
        """Ask the server. Raises OperationalError, and SchemaBehind if it answers but lacks the tables."""
        with self.engine.connect() as connection:
            self._check_schema(connection)

    def migrate(self, also: Callable[[Connection], None] = lambda tx: None) -> str:
        """Bring the schema to this release and return its version; two that start at once do it one after the other.

        A schema of a later release stays as it is: an image that was gone back to works on it.
        also: what else this release needs, in the same transaction.
        """
        command = import_module("alembic.command")
        config = import_module("alembic.config").Config()
        config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
        with self.engine.begin() as connection:
            connection.execute(text("SET LOCAL lock_timeout = 0"))
            connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
            connection.execute(text(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})"))
            version = _version(connection)
            if version is None or version <= newest_version():
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
                version = newest_version()
            also(connection)
        return version

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    def _check_schema(self, connection: Connection) -> None:
        version = _version(connection)
        if version is None or version < newest_version():
            found = f"is at version {version}" if version else "has no tables yet"
            msg = f"The database {found}, and this release needs {newest_version()}: run the command `migrate`."
            raise SchemaBehind(msg)


def _version(connection: Connection) -> str | None:
    """The schema's; None if there is none yet."""
    exists = connection.execute(text("SELECT to_regclass('alembic_version')")).scalar()
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar() if exists else None


def _to_json(value: Any) -> str:
    """JSON that Postgres takes: a run may report NaN, which is none, and half a character, which has no UTF-8."""
    try:
        return to_json(value, inf_nan_mode="null", fallback=str).decode()
    except PydanticSerializationError:
        return json.dumps(value, default=str)


@cache
def newest_version() -> str:
    """The version of the newest migration: the first part of its file's name."""
    return max(path.name.partition("_")[0] for path in (MIGRATIONS / "versions").glob("[0-9]*.py"))
