"""The memory of one run's user. No call can name another user, and nothing here ends a run."""

import contextvars
import logging
import os
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, wait
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any, TypeVar

from crewyard_runtime.memory.no_secrets import may_remember as no_secrets
from crewyard_runtime.memory.records import MemoryStore, Record, Remembered, safe_user_id

MOST_TEXT = 8_000  # characters; embedding models read about 8,000 tokens
MOST_RESULTS = 100
MOST_LISTED = 10_000
FORK_SECONDS = 2.0  # a fork waits no longer for calls of the memory that are under way

log = logging.getLogger("crewyard.memory")
Report = Callable[[str, dict[str, Any]], None]
T = TypeVar("T")


class UserMemory:
    """What is remembered about one user, wherever it is kept. Safe to use from several threads.

    open_store: opens the back end, at the first call that needs it, and again after it failed.
    report: takes an event when something is refused, late or fails; `failures` counts them.
    recall_seconds: how long a recall may take, remember_seconds all else; the run goes on without it afterwards.
    may_remember: says of a text whether it may be kept; by default no keys and tokens.
    Raises ValueError for a user id outside of the safe alphabet.
    """

    def __init__(
        self,
        user_id: str,
        open_store: Callable[[], MemoryStore],
        report: Report,
        recall_seconds: float = 0.3,
        remember_seconds: float = 5.0,
        may_remember: Callable[[str], bool] = no_secrets,
    ) -> None:
        self.failures = 0
        self.__user_id = safe_user_id(user_id)
        self._open_store = open_store
        self._opening: dict[int, threading.Lock] = {}
        self._opened: dict[int, MemoryStore] = {}
        self._report = report
        self._recall_seconds = recall_seconds
        self._remember_seconds = remember_seconds
        self._may_remember = may_remember

    def remember(self, text: str) -> str | None:
        """Keep a text, cut to 8,000 characters, and return its id; None if it may not be kept or the store failed."""
        kept = _text(text)[:MOST_TEXT]
        if not kept:
            return None
        return self._try("remember", self._remember_seconds, lambda: self._add(kept), None)

    def recall(self, query: str, limit: int = 5) -> list[Remembered]:
        """Up to `limit` (at most 100) things that are most like the query; nothing if the store is late or fails."""
        return self.recalling(query, limit)()

    def recalling(self, query: str, limit: int = 5) -> Callable[[], list[Remembered]]:
        """Begin a recall. The call that gives what was found waits no longer for it than a recall takes."""
        asked, most = _text(query)[:MOST_TEXT], min(limit, MOST_RESULTS)
        if not asked or most < 1:
            return list
        found = _begin("recall", lambda: self._store.search(asked, most))

        def result() -> list[Remembered]:
            none: list[Record] = []
            return self._own("recall", self._wait("recall", self._recall_seconds, found, none))[:most]

        return result

    def forget(self, id: str) -> bool:
        """Delete one thing. False if there is none of this id here, or the store failed."""
        try:
            given = str(uuid.UUID(id))
        except (ValueError, AttributeError, TypeError):
            return False
        return self._try("forget", self._remember_seconds, lambda: self._delete(given), default=False)

    def all(self) -> list[Remembered]:
        """Everything, the oldest first; nothing if the store failed."""
        found: list[Record] = self._try("list", self._remember_seconds, lambda: self._store.list(MOST_LISTED), [])
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

    @property
    def _store(self) -> MemoryStore:
        # A fork of the run's process opens its own: two processes on one connection would read each other's answers.
        process = os.getpid()
        with self._opening.setdefault(process, threading.Lock()):
            if process not in self._opened:
                self._opened[process] = self._open_store()
            return self._opened[process]

    def _try(self, operation: str, seconds: float, call: Callable[[], T], default: T) -> T:
        return self._wait(operation, seconds, _begin(operation, call), default)

    def _wait(self, operation: str, seconds: float, done: "Future[T]", default: T) -> T:
        """What the call returns within the time. A call that is late goes on in its thread, and ends with the run."""
        try:
            return done.result(timeout=seconds)
        except FutureTimeout:
            self._tell("late", operation, f"no answer within {seconds:g} seconds")
        except (Exception, SystemExit, CancelledError) as error:
            self._tell("failed", operation, f"{type(error).__name__}: {str(error)[:300]}")
        return default

    def _tell(self, what: str, operation: str, reason: str) -> None:
        self.failures += 1
        log.warning("memory.%s operation=%s %s", what, operation, reason)
        self._report(f"memory.{what}", {"operation": operation, "reason": reason})


_under_way: set["Future[Any]"] = set()


def _let_them_end() -> None:
    """A fork copies what other threads have half done: modules half imported, locks held that nobody gives back."""
    wait(list(_under_way), timeout=FORK_SECONDS)


os.register_at_fork(before=_let_them_end)


def _begin(operation: str, call: Callable[[], T]) -> "Future[T]":
    done: Future[T] = Future()
    _under_way.add(done)
    done.add_done_callback(_under_way.discard)

    def work() -> None:
        try:
            done.set_result(call())
        except BaseException as error:
            done.set_exception(error)

    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(work,), name=f"memory-{operation}", daemon=True).start()
    return done


def _text(given: str) -> str:
    if not isinstance(given, str):
        msg = f"The memory takes text, and got {type(given).__name__}."
        raise TypeError(msg)
    # No store keeps a null character, and half a character has no UTF-8.
    return given.replace("\0", "").encode("utf-8", "replace").decode().strip()
