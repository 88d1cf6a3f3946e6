"""Holds one claimed run while it is done: renews its lease, stores its events, hears of its cancellation."""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Self, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DataError, SQLAlchemyError

from crewyard_runtime.execution import LeasedControl
from crewyard_runtime.store import Database, events, runs

RETRY_SECONDS = 0.5
GATHER_SECONDS = 0.02  # events come in bursts, and are stored together
MOST_WAITING = 10_000  # events; while the database is away

log = logging.getLogger("crewyard.jobs")
Event = tuple[str, dict[str, Any]]
Result = TypeVar("Result")


class Keeper:
    """For one claim. `control` goes to the runner; while the store cannot be reached, the lease runs out and the
    run's process ends itself.
    """

    def __init__(self, database: Database, claim: runs.Claim, lease_seconds: float, claimed_at: float) -> None:
        self.control = LeasedControl(claimed_at)
        self.taken = False  # the run is somebody else's now
        self.returning = False  # this worker has to stop, and the run shall be done by another
        self._database = database
        self._claim = claim
        self._lease_seconds = lease_seconds
        self._events: list[Event] = []
        self._lock = threading.Lock()
        self._storing = threading.Lock()
        self._something = threading.Event()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._keep, name=f"keeper-{claim.id}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._done.set()
        self._something.set()
        self._thread.join()

    def add_event(self, run_id: str, kind: str, data: dict[str, Any]) -> None:
        """Take an event of the run; it is stored soon."""
        with self._lock:
            if len(self._events) < MOST_WAITING:
                self._events.append((kind.replace("\0", "")[:200], data))
        self._something.set()

    def give_back(self) -> None:
        """End the run here, to be done by another worker."""
        self.returning = True
        self.control.end("Its worker had to stop.")

    def record(self, step: Callable[[Connection], Result]) -> Result:
        """Do `step` in one transaction with the events that wait, which come first. Raises SQLAlchemy's errors."""
        return self._store(self._database.transaction, step)

    def forget_events(self) -> None:
        """Drop the events that wait: they cannot be stored."""
        with self._lock:
            self._events.clear()

    def _keep(self) -> None:
        between = min(self._lease_seconds / 4, 2)
        due = self.control.held_since() + between
        while not self._done.is_set():
            self._something.wait(max(due - time.monotonic(), 0))
            self._something.clear()
            if self._done.wait(GATHER_SECONDS):
                return
            try:
                if self._events:
                    self._store(self._database.statements, lambda tx: None)
                if time.monotonic() >= due:
                    due = self._renew() + between
            except DataError as error:
                log.warning("events of the run cannot be stored: %s", error.orig)
                self.forget_events()
            except SQLAlchemyError as error:
                log.warning("the lease could not be renewed: %s", type(error).__name__)
                self._done.wait(RETRY_SECONDS)

    def _store(
        self, connect: Callable[[], AbstractContextManager[Connection]], step: Callable[[Connection], Result]
    ) -> Result:
        with self._storing:
            with self._lock:
                new = list(self._events)
            with connect() as tx:
                if new:
                    events.append_if_held(tx, self._claim.id, self._claim.attempt, new)
                result = step(tx)
            with self._lock:
                del self._events[: len(new)]
            return result

    def _renew(self) -> float:
        asked_at = time.monotonic()
        with self._database.statements() as tx:
            go_on = runs.renew(tx, self._claim, self._lease_seconds)
        if go_on is None:
            self.taken = True
            self.control.end("Its lease ran out, and the run is another worker's now.")
        elif go_on:
            self.control.renewed(asked_at)
        else:
            self.control.renewed(asked_at)
            self.control.end("The run was cancelled.")
        return asked_at
