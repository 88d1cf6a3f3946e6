"""What holds a run from outside while its process works: the lease it lives under, and the wish to end it."""

import threading
import time


class RunControl:
    """Given to `Runner.run`; safe to use from several threads.

    Nobody renews this one: a run under it lives for as long as its parent does.
    """

    def __init__(self) -> None:
        self._reason: str | None = None
        self._lock = threading.Lock()

    def held_since(self) -> float:
        """When the run was last known to be ours (`time.monotonic`); one lease later its process kills itself."""
        return time.monotonic()

    def end(self, reason: str) -> None:
        """Have the run killed; the first reason is kept."""
        with self._lock:
            self._reason = self._reason or reason

    @property
    def ending(self) -> str | None:
        """Why the run is to be ended; None while it may go on."""
        return self._reason


class LeasedControl(RunControl):
    """The control of a run that is only ours while somebody renews its lease."""

    def __init__(self, held_since: float) -> None:
        super().__init__()
        self._held_since = held_since

    def held_since(self) -> float:
        return self._held_since

    def renewed(self, asked_at: float) -> None:
        """The lease was renewed by a statement sent at `asked_at` (`time.monotonic`)."""
        self._held_since = asked_at
