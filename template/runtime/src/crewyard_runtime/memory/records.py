"""What a memory holds, what a back end can do for one user, and what makes its vectors."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from crewyard_runtime.identity import USER_ID


@dataclass(frozen=True)
class Remembered:
    """One thing that is known about a user. at: when it was remembered (UTC). score: 0 to 1, of a recall alone."""

    id: str
    text: str
    at: datetime | None = None
    score: float | None = None

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Record:
    """What a back end returns: something remembered, and whose it is."""

    user_id: str | None
    remembered: Remembered


class Memory(Protocol):
    """What a run's code has in hand. It is one user's, and no call takes a user id."""

    def remember(self, text: str) -> str | None:
        """Keep a text and return its id; None if it was not kept."""

    def recall(self, query: str, limit: int = 5) -> list[Remembered]:
        """Up to `limit` things that are most like the query."""

    def recalling(self, query: str, limit: int = 5) -> Callable[[], list[Remembered]]:
        """Begin to recall; what is returned gives what was found, once it is called."""

    def forget(self, id: str) -> bool:
        """Delete one thing; False if there is none of this id."""

    def all(self) -> list[Remembered]:
        """Everything, the oldest first."""


class MemoryStore(Protocol):
    """A back end, made for one user. It may raise anything, and may answer late."""

    def add(self, text: str) -> str:
        """Keep a text and return its id."""

    def search(self, query: str, limit: int) -> list[Record]:
        """Up to `limit` records, the most alike first."""

    def list(self, limit: int) -> list[Record]:
        """Up to `limit` records, in any order."""

    def get(self, id: str) -> Record | None:
        """One record; None if there is none of this id."""

    def delete(self, id: str) -> None:
        """Delete one record; its caller has looked whose it is."""

    def erase(self) -> dict[str, int]:
        """Delete all that is kept about the user, and tell how much of what kind that was."""

    def close(self) -> None:
        """Give back what it holds open."""


class Embedder(Protocol):
    """Makes vectors of texts."""

    def embed(self, text: str) -> list[float]:
        """The embedding of one text."""

    def embed_many(self, texts: list[str]) -> list[list[float]]:
        """The embeddings of up to 100 texts, in their order."""


def safe_user_id(user_id: str) -> str:
    """The id itself. Raises ValueError outside of the alphabet that every store takes literally: Mem0 reads `*` as
    everybody, and dictionaries and lists as operators.
    """
    if not isinstance(user_id, str) or not re.fullmatch(USER_ID, user_id):
        msg = f"The user id {str(user_id)[:50]!r} is not 1 to 128 letters, digits and _.:@- characters."
        raise ValueError(msg)
    return user_id
