"""Looks for what got lost on its way, every second, in each worker; so there is nobody whose death stops it."""

import logging
import random
import threading
from collections.abc import Callable

from sqlalchemy.exc import SQLAlchemyError

from crewyard_runtime.jobs.wake_ups import WakeUps
from crewyard_runtime.store import Database, runs

log = logging.getLogger("crewyard.jobs")


class Sweeper:
    """A thread that ends attempts whose lease ran out, and wakes its own worker if that is idle while work waits.

    So there is at most one wake-up a worker and sweep, and none while all workers get some: the queue stays short.
    is_idle: whether this process's worker has waited for a message since the last sweep.
    """

    def __init__(
        self,
        database: Database,
        wake_ups: WakeUps,
        is_idle: Callable[[], bool],
        applications: list[str],
        runs_per_user: int,
        seconds: float,
    ) -> None:
        self._database = database
        self._wake_ups = wake_ups
        self._is_idle = is_idle
        self._applications = applications
        self._runs_per_user = runs_per_user
        self._seconds = seconds
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._go_on, name="sweeper", daemon=True)

    def start(self) -> None:
        """Sweep until `stop`."""
        self._thread.start()

    def stop(self) -> None:
        """Sweep no more."""
        self._stopped.set()

    def sweep(self) -> None:
        """Look once. Raises SQLAlchemy's errors."""
        with self._database.transaction() as tx:
            for ended in runs.sweep(tx):
                log.warning(
                    "attempt %d of run %s lost its worker; the run is %s", ended.attempt, ended.id, ended.status
                )
        if self._is_idle():
            with self._database.statements() as tx:
                wanted = runs.may_start(tx, self._applications, self._runs_per_user)
            if wanted:
                self._wake_ups.send()

    def _go_on(self) -> None:
        # Workers that started together shall not sweep together.
        while not self._stopped.wait(self._seconds * random.uniform(0.7, 1)):
            try:
                self.sweep()
            except SQLAlchemyError as error:
                log.warning("the database cannot be swept: %s", type(error).__name__)
