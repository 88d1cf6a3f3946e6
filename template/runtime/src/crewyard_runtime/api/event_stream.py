"""The events of a run as they happen, for all who follow one: a single connection of the process listens for news."""

import asyncio
import json
import logging
import threading
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from uuid import UUID

from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from sqlalchemy import Connection, Row
from sqlalchemy.exc import SQLAlchemyError

from crewyard_runtime.api.problems import DATABASE_ERRORS
from crewyard_runtime.api.views import Event
from crewyard_runtime.store import Database, events, runs
from crewyard_runtime.store.async_database import AsyncDatabase

LOOK_SECONDS = 5.0  # a follower looks this often by itself: a call may have been lost with a connection
PING_SECONDS = 15.0
CHECK_SECONDS = 1.0  # how long the listener takes to notice that it has to stop
LONGEST_PAUSE = 5.0  # seconds, while the database is away

log = logging.getLogger("crewyard.api")


class EventStreams:
    """Made for one event loop; `start` and `close` belong to it."""

    def __init__(self, database: AsyncDatabase, listener: Database) -> None:
        self._database = database
        self._listener = listener
        self._waiting: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._closed = threading.Event()

    def start(self) -> None:
        """Begin to listen."""
        self._loop = asyncio.get_running_loop()
        threading.Thread(target=self._listen, name="events", daemon=True).start()

    def close(self) -> None:
        """End all streams now; whoever follows comes back with the number of the last event."""
        self._closed.set()
        self._wake_all()

    async def follow(self, run_id: UUID, number: int) -> AsyncIterator[bytes]:
        """The events after the one numbered `number`, as server-sent events, until the run's last one."""
        told = time.monotonic()
        with self._news_of(run_id) as news:
            while not self._closed.is_set():
                news.clear()
                found, ended = await self._look(run_id, number)
                for event in found:
                    yield _told(event)
                    number, told = event.number, time.monotonic()
                if ended:
                    return
                if not found:
                    await _wait(news, LOOK_SECONDS)
                if time.monotonic() - told >= PING_SECONDS:
                    yield KEEPALIVE_COMMENT
                    told = time.monotonic()

    async def _look(self, run_id: UUID, number: int) -> tuple[list[Row[Any]], bool]:
        try:
            return await self._database.transaction(_new_events, run_id, number)
        except DATABASE_ERRORS:
            return [], False

    @contextmanager
    def _news_of(self, run_id: UUID) -> Iterator[asyncio.Event]:
        news, followers = asyncio.Event(), self._waiting[str(run_id)]
        followers.add(news)
        try:
            yield news
        finally:
            followers.discard(news)
            if not followers:
                self._waiting.pop(str(run_id), None)

    def _listen(self) -> None:
        pause = 0.1
        while not self._closed.is_set():
            try:
                with self._listener.listening(events.CHANNEL) as connection:
                    pause = 0.1
                    # Whatever happened while nobody listened.
                    self._loop.call_soon_threadsafe(self._wake_all)
                    while not self._closed.is_set():
                        for call in connection.notifies(timeout=CHECK_SECONDS):
                            if call.payload in self._waiting:
                                self._loop.call_soon_threadsafe(self._wake, call.payload)
            except (SQLAlchemyError, self._listener.driver_error) as error:
                log.warning("no news of runs for now: %s", str(error).strip().partition("\n")[0])
                self._closed.wait(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
            except RuntimeError:
                return  # the event loop has gone

    def _wake(self, run_id: str) -> None:
        for news in self._waiting.get(run_id, ()):
            news.set()

    def _wake_all(self) -> None:
        for run_id in self._waiting:
            self._wake(run_id)


def _new_events(tx: Connection, run_id: UUID, number: int) -> tuple[list[Row[Any]], bool]:
    """What is new, and whether that is all there will be."""
    run = runs.find(tx, run_id)
    found = events.after(tx, run_id, number)
    last = found[-1].number if found else number
    return found, run is None or (run.status in runs.ENDED and last >= run.events)


def _told(row: Row[Any]) -> bytes:
    event = Event.model_validate(row)
    kind = " ".join(event.kind.splitlines())  # it is the team's, and in this format a line has a meaning
    return format_sse_event(data_str=json.dumps(event.model_dump(mode="json")), event=kind, id=str(event.number))


async def _wait(news: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(news.wait(), seconds)
