"""The memory of one run's user. No call can name another user, and nothing here ends a run."""

import contextvars
import logging
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any, TypeVar

from crewyard_runtime.memory.may_remember import may_remember as no_secrets
from crewyard_runtime.memory.records import MemoryStore, Record, Remembered, safe_user_id

WRITE_SECONDS = 5.0
MOST_TEXT = 8_000  # characters; embedding models read about 8,000 tokens
MOST_RESULTS = 100
MOST_LISTED = 10_000

log = logging.getLogger("crewyard.memory")
Report = Callable[[str, dict[str, Any]], None]
T = TypeVar("T")


class UserMemory:
    """What is remembered about one user, wherever it is kept. Safe to use from several threads.

    report: takes an event when something is refused, late or fails; `failures` counts them.
    recall_seconds: how long a recall may take; the run goes on without it afterwards.
    may_remember: says of a text whether it may be kept; by default no keys and tokens.
    Raises ValueError for a user id outside of the safe alphabet.
    """

    def __init__(
        self,
        user_id: str,
        store: MemoryStore,
        report: Report,
        recall_seconds: float = 0.3,
        may_remember: Callable[[str], bool] = no_secrets,
    ) -> None:
        self.failures = 0
        self.__user_id = safe_user_id(user_id)
        self._store = store
        self._report = report
        self._recall_seconds = recall_seconds
        self._may_remember = may_remember

    def remember(self, text: str) -> str | None:
        """Keep a text, cut to 8,000 characters, and return its id; None if it may not be kept or the store failed."""
        kept = _text(text)[:MOST_TEXT]
        if not kept:
            return None
        return self._try("remember", WRITE_SECONDS, lambda: self._add(kept), None)

    def recall(self, query: str, limit: int = 5) -> list[Remembered]:
        """Up to `limit` (at most 100) things that are most like the query; nothing if the store is late or fails."""
        asked, most = _text(query)[:MOST_TEXT], min(limit, MOST_RESULTS)
        if not asked or most < 1:
            return []
        found: list[Record] = self._try("recall", self._recall_seconds, lambda: self._store.search(asked, most), [])
        return self._own("recall", found)[:most]

    def forget(self, id: str) -> bool:
        """Delete one thing. False if there is none of this id here, or the store failed."""
        try:
            given = str(uuid.UUID(id))
        except (ValueError, AttributeError, TypeError):
            return False
        return self._try("forget", WRITE_SECONDS, lambda: self._delete(given), default=False)

    def all(self) -> list[Remembered]:
        """Everything, the oldest first; nothing if the store failed."""
        found: list[Record] = self._try("list", WRITE_SECONDS, lambda: self._store.list(MOST_LISTED), [])
        return sorted(self._own("list", found), key=lambda each: (each.at is None, each.at, each.id))

    def _add(self, text: str) -> str | None:
        if not self._may_remember(text):
            self._tell("refused", "remember", "the text looks like a key or a token, or may_remember refused it")
            return None
        return self._store.add(text)

    def _delete(self, id: str) -> bool:
        record = self._store.get(id)
        if record is None or not self._own("forget", [record]):
            return False
        self._store.delete(id)
        return True

    def _own(self, operation: str, records: list[Record]) -> list[Remembered]:
        """The first lock: what a back end returns is looked at, whatever filter it was given."""
        own = [record.remembered for record in records if record.user_id == self.__user_id]
        if len(own) < len(records):
            self._tell("foreign", operation, f"the store returned {len(records) - len(own)} records of other users")
        return own

    def _try(self, operation: str, seconds: float, call: Callable[[], T], default: T) -> T:
        """What `call` returns within the time. A call that is late goes on in its thread, and ends with the run."""
        done: Future[T] = Future()

        def work() -> None:
            try:
                done.set_result(call())
            except BaseException as error:
                done.set_exception(error)

        context = contextvars.copy_context()
        threading.Thread(target=context.run, args=(work,), name=f"memory-{operation}", daemon=True).start()
        try:
            return done.result(timeout=seconds)
        except FutureTimeout:
            self._tell("late", operation, f"no answer within {seconds:g} seconds")
        except (Exception, SystemExit, CancelledError) as error:
            self._tell("failed", operation, f"{type(error).__name__}: {str(error)[:300]}")
        return default

    def _tell(self, what: str, operation: str, reason: str) -> None:
        self.failures += 1
        log.warning("memory: %s was %s: %s", operation, what, reason)
        self._report(f"memory.{what}", {"operation": operation, "reason": reason})


def _text(given: str) -> str:
    if not isinstance(given, str):
        msg = f"The memory takes text, and got {type(given).__name__}."
        raise TypeError(msg)
    # No store keeps a null character, and half a character has no UTF-8.
    return given.replace("\0", "").encode("utf-8", "replace").decode().strip()
