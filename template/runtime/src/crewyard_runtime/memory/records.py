"""What a memory holds, and what a back end can do for one user."""

import re
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


def safe_user_id(user_id: str) -> str:
    """The id itself. Raises ValueError outside of the alphabet that every store takes literally: Mem0 reads `*` as
    everybody, and dictionaries and lists as operators.
    """
    if not isinstance(user_id, str) or not re.fullmatch(USER_ID, user_id):
        msg = f"The user id {str(user_id)[:50]!r} is not 1 to 128 letters, digits and _.:@- characters."
        raise ValueError(msg)
    return user_id
