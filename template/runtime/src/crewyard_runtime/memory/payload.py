"""What Mem0 keeps beside a vector, written as it would write it, so that it can read the same rows."""

import hashlib
from datetime import UTC, datetime
from typing import Any

from crewyard_runtime.memory.records import Record, Remembered


def new_payload(user_id: str, text: str) -> dict[str, Any]:
    """That of a new memory."""
    now = datetime.now(UTC).isoformat()
    return {
        "user_id": user_id,
        "data": text,
        "hash": hashlib.md5(text.encode(), usedforsecurity=False).hexdigest(),
        "created_at": now,
        "updated_at": now,
        "text_lemmatized": text.lower(),
        "role": "user",
    }


def record_of(id: Any, payload: dict[str, Any] | None, score: float | None) -> Record:
    """The record that a payload means, whoever wrote it."""
    said = payload or {}
    return Record(said.get("user_id"), Remembered(str(id), str(said.get("data", "")), _time(said), score))


def _time(said: dict[str, Any]) -> datetime | None:
    try:
        when = datetime.fromisoformat(said["created_at"])
    except (KeyError, TypeError, ValueError):  # a run may write what it likes into its own user's rows
        return None
    return when if when.tzinfo else when.replace(tzinfo=UTC)
