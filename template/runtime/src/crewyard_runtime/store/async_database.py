"""The same Postgres for an event loop: the store's functions work in it as they are, and wait without blocking it."""

import time
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection
from sqlalchemy.event import listen
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from crewyard_runtime.store.database import engine_options, engine_url

IDLE_SECONDS = 1.0

P = ParamSpec("P")
T = TypeVar("T")


class AsyncDatabase:
    """For one event loop. connections: how many at most; whoever needs one more waits. Errors are SQLAlchemy's."""

    def __init__(self, url: str, connections: int) -> None:
        self._engine = create_async_engine(engine_url(url), **engine_options(connections))
        self._statements = self._engine.execution_options(isolation_level="AUTOCOMMIT")
        _ping_idle_connections(self._engine)

    async def transaction(self, step: Callable[Concatenate[Connection, P], T], *given: P.args, **named: P.kwargs) -> T:
        """What `step` does with a connection, all of it or, if it raises, nothing."""
        async with self._engine.begin() as connection:
            return await connection.run_sync(step, *given, **named)

    async def statements(self, step: Callable[Concatenate[Connection, P], T], *given: P.args, **named: P.kwargs) -> T:
        """What `step` does with a connection, each statement by itself: none keeps a lock until the next one."""
        async with self._statements.connect() as connection:
            return await connection.run_sync(step, *given, **named)

    async def close(self) -> None:
        """Close all connections."""
        await self._engine.dispose()


def _ping_idle_connections(engine: AsyncEngine) -> None:
    """Ask connections that were idle whether they live. SQLAlchemy's `pool_pre_ping` asks each time, which costs a
    gateway a tenth of its requests a second.
    """

    def checkin(connection: Any, record: Any) -> None:
        record.info["idle_since"] = time.monotonic()

    def checkout(connection: Any, record: Any, proxy: Any) -> None:
        idle_since = record.info.get("idle_since")
        if idle_since is not None and time.monotonic() - idle_since > IDLE_SECONDS:
            try:
                engine.dialect.do_ping(connection)
            except engine.dialect.loaded_dbapi.Error as error:
                raise InvalidatePoolError from error

    listen(engine.sync_engine, "checkin", checkin)
    listen(engine.sync_engine, "checkout", checkout)
