"""What every source of secrets is, how long it may take, and how it says that it cannot be read."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol, TypeVar

ANSWER_SECONDS = 10  # of a manager, with all that its library does to find credentials
CONNECT_SECONDS = 3
MAX_TEXT = 300

Found = TypeVar("Found")


class SecretsNotRead(Exception):
    """A source, or one secret of it, is there and cannot be read. No part of it carries a value.

    name: the setting that names the source, or the variable. example: what mends it.
    """

    def __init__(self, name: str, problem: str, example: str = "") -> None:
        super().__init__(name, problem, example)
        self.name = name
        self.problem = problem
        self.example = example

    def __str__(self) -> str:
        return f"{self.name}: {self.problem}"


@dataclass(frozen=True)
class Refused:
    """Stands for a value that is there and cannot be read: no field takes it, so it is a problem like the others."""

    problem: str


class Source(Protocol):
    """One place of secrets, each of which is named like a variable."""

    @property
    def place(self) -> str:
        """The place, for a sentence; empty where nothing was looked at."""

    def names(self) -> Collection[str]:
        """The variables that are there, in upper case and with underscores."""

    def read(self, name: str) -> str:
        """The value of one. Raises SecretsNotRead."""


class OneByOne(ABC):
    """A manager with one secret for each variable. Each is asked for once, whatever comes of it.

    names: of each variable the secret's own name. After one that was not answered no other is waited for.
    """

    def __init__(self, names: dict[str, str]) -> None:
        self._names = names
        self._answers: dict[str, str | SecretsNotRead] = {}
        self._silent: TimeoutError | None = None

    def names(self) -> Collection[str]:
        """The variables that there is a secret for."""
        return self._names.keys()

    def read(self, name: str) -> str:
        """The value of a secret as it is now. Raises SecretsNotRead."""
        if name not in self._answers:
            self._answers[name] = self._answer(name)
        answer = self._answers[name]
        if isinstance(answer, SecretsNotRead):
            raise answer
        return answer

    def _answer(self, name: str) -> str | SecretsNotRead:
        secret = self._names[name]
        try:
            if self._silent:
                raise self._silent
            return answer_of(lambda: self._value(secret)).strip()
        except Exception as error:
            self._silent = error if isinstance(error, TimeoutError) else None
            return SecretsNotRead(name, f"its secret {secret} {self._why(error)}")

    @abstractmethod
    def _value(self, secret: str) -> str:
        """Ask for a secret; raises what the manager's library raises."""

    def _why(self, error: Exception) -> str:
        return f"cannot be read: {words_of(error)}"


def answer_of(ask: Callable[[], Found]) -> Found:
    """What `ask` gives or raises; TimeoutError after ANSWER_SECONDS.

    In a thread that nobody waits for: the clouds' libraries bound a connection, but not a name that no server resolves,
    nor the way through all places where credentials could be.
    """
    answer: Future[Found] = Future()

    def run() -> None:
        try:
            answer.set_result(ask())
        except BaseException as error:
            answer.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return answer.result(ANSWER_SECONDS)


def words_of(error: BaseException) -> str:
    """An error of a cloud's library as one line; it names accounts and addresses, and no value."""
    if isinstance(error, TimeoutError):
        return f"no answer within {ANSWER_SECONDS} seconds"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:MAX_TEXT].rstrip(".")
