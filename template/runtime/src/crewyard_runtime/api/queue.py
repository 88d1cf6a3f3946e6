"""The queue of runs, as the gateway sees it: when it is full, and when somebody has to be woken."""

import time
from typing import Protocol

from starlette.concurrency import run_in_threadpool

from crewyard_runtime.api.problems import Refused

WAKE_UPS = 100
FULL_SECONDS = 10.0  # after which a client may hope for room
MARGIN = 1_000  # runs; all gateways together take in fewer within SURE_SECONDS
SURE_SECONDS = 0.25


class Wakes(Protocol):
    """Whoever sends wake-up calls to the workers; see `jobs.wake_ups.WakeUps`."""

    def send(self) -> None:
        """Wake one worker; raises nothing."""

    def ping(self, seconds: float) -> None:
        """Ask the broker. Raises what the connection raises."""


class Queue:
    """bound: how many runs may wait."""

    def __init__(self, bound: int, wake_ups: Wakes) -> None:
        self.bound = bound
        self._wake_ups = wake_ups
        self._sure_until = 0.0

    def count_to(self) -> int:
        """How far the waiting runs have to be counted; a long queue, far below its bound, is not counted each time."""
        return WAKE_UPS if time.monotonic() < self._sure_until else self.bound

    def check(self, waiting: int, counted_to: int) -> None:
        """Refuse (503) one more run if so many wait already."""
        if waiting >= self.bound:
            msg = f"{self.bound} runs are waiting, and no more are taken in: try again later."
            raise Refused(503, msg, after_seconds=FULL_SECONDS)
        if counted_to == self.bound and waiting + MARGIN < self.bound:
            self._sure_until = time.monotonic() + SURE_SECONDS

    async def wake(self, waiting: int) -> None:
        """Wake a worker for a run that was committed when so many others waited."""
        # Where more wait, enough calls are under way already: whoever finishes a run sends the next.
        if waiting < WAKE_UPS:
            await run_in_threadpool(self._wake_ups.send)
