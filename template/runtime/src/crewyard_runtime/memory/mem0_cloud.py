"""A memory in Mem0's cloud, by Mem0's own client. Mem0 embeds by itself, and knows the key's project, but no users.

So there is no second lock at the server. The first lock is the filter; the second is that nothing is taken, deleted or
written that is not seen to be the user's. Of Mem0 2.2 `MemoryClient` is used.
"""

# mypy: disable-error-code="import-untyped"
# Mem0 brings no types.

import uuid
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import httpx
from mem0 import MemoryClient
from mem0.exceptions import MemoryNotFoundError
from mem0.memory import telemetry
from sqlalchemy import Engine

from crewyard_runtime.memory.backends import NotPossible
from crewyard_runtime.memory.records import Embedder, Record, Remembered, safe_user_id
from crewyard_runtime.settings import RuntimeSettings

RUN_SECONDS = 5.0
OWNER_SECONDS = 60.0
PAGE = 200  # the most that Mem0 gives at once
MOST_PAGES = 1_000
BATCH = 1_000  # the most that Mem0 deletes at once

# `load_backend` sees to it before the import; this is for who imports the module by itself.
telemetry.MEM0_TELEMETRY = False

Json = dict[str, Any]
# On each memory, because others' may be in the same project of Mem0's: those are not pruned.
KEPT_BY: Json = {"kept_by": "crewyard"}


class Client(MemoryClient):  # type: ignore[misc]
    """Mem0's client, which by itself waits up to five minutes, and begins with a request that asks whose the key is."""

    def __init__(self, settings: RuntimeSettings, seconds: float) -> None:
        assert settings.mem0_api_key is not None  # `check` asks for it
        key = settings.mem0_api_key.get_secret_value()
        super().__init__(key, settings.mem0_url, httpx.Client(timeout=seconds))

    def _validate_api_key(self) -> None:
        # A recall has no time for it: any other call tells a wrong key too, and these are for its telemetry and for
        # what is not used here, but must be something.
        self.org_id = self.project_id = "not asked for"

    def every(self, filters: Json, show_expired: bool = False) -> Iterator[Json]:
        """The memories of a filter, one page after the other, as they are asked for."""
        for page in range(1, MOST_PAGES + 1):
            reply = self.get_all(filters=filters, page=page, page_size=PAGE, show_expired=show_expired)
            yield from reply["results"]
            if not reply["results"] or not reply.get("next"):
                return

    def close(self) -> None:
        """Close its connections."""
        self.client.close()


class Mem0CloudStore:
    """For one user. Raises ValueError for a user id that Mem0 would read as a pattern."""

    def __init__(self, user_id: str, client: Client) -> None:
        self.__user_id = safe_user_id(user_id)
        self._filters: Json = {"user_id": user_id}
        self._client = client

    def add(self, text: str) -> str:
        """Keep a text as it is, and return its id. If Mem0 puts it off, that is the event's, and deletes nothing."""
        reply = self._client.add(text, user_id=self.__user_id, infer=False, metadata=KEPT_BY)
        ids = [each["id"] for each in reply.get("results") or [] if each.get("id")]
        return str(ids[0] if ids else reply.get("event_id") or uuid.uuid4())

    def search(self, query: str, limit: int) -> list[Record]:
        """Up to `limit` records, the most alike first."""
        reply = self._client.search(query, filters=self._filters, top_k=limit, threshold=0.0)
        return [_record(each) for each in reply["results"]]

    def list(self, limit: int) -> list[Record]:
        """Up to `limit` records, in any order."""
        return [_record(each) for each in islice(self._client.every(self._filters), limit)]

    def get(self, id: str) -> Record | None:
        """One record; None if the user has none of this id. Mem0 gives whoever has the key any user's."""
        try:
            record = _record(self._client.get(id))
        except MemoryNotFoundError:
            return None
        return record if record.user_id == self.__user_id else None

    def delete(self, id: str) -> None:
        """Delete one record. Raises PermissionError if it is not the user's."""
        if self.get(id) is None:
            msg = f"There is no memory {id} of {self.__user_id}: take an id that `all` or `recall` gave."
            raise PermissionError(msg)
        self._client.delete(id)

    def erase(self) -> dict[str, int]:
        """Delete all that is kept about the user, and tell how many memories that was."""
        found = self._client.every(self._filters, show_expired=True)
        count = sum(_record(each).user_id == self.__user_id for each in found)
        self._client.delete_all(user_id=self.__user_id)
        return {"memories": count}

    def close(self) -> None:
        """Close its connections."""
        self._client.close()


def _record(said: Json) -> Record:
    remembered = Remembered(str(said["id"]), str(said.get("memory") or ""), _time(said), said.get("score"))
    return Record(said.get("user_id"), remembered)


def _time(said: Json) -> datetime | None:
    at = said.get("created_at")
    when = None if at is None else datetime.fromisoformat(at)
    return when if when is None or when.tzinfo else when.replace(tzinfo=UTC)


def open_store(settings: RuntimeSettings, user_id: str, token: str | None, embedder: Embedder) -> Mem0CloudStore:
    """The store of one user. Asks nothing of Mem0 yet."""
    return Mem0CloudStore(user_id, Client(settings, RUN_SECONDS))


def problems(settings: RuntimeSettings) -> list[str]:
    """What does not fit. Raises httpx's errors if nobody answers, or not well."""
    with closing(Client(settings, RUN_SECONDS)) as client:
        reply: httpx.Response = client.client.get("/v1/ping/")
    if reply.status_code in (401, 403):
        return [f"Mem0 at {settings.mem0_url} does not take MEM0_API_KEY: set one of its dashboard."]
    reply.raise_for_status()
    return []


def prune(settings: RuntimeSettings, owner: Engine | None, days: float) -> int:
    """Delete what runs remembered longer ago; returns how much. A later call goes on with what is above 200,000."""
    before = datetime.now(UTC) - timedelta(days=days)
    filters = {"AND": [{"user_id": "*"}, {"created_at": {"lt": before.strftime("%Y-%m-%dT%H:%M:%SZ")}}]}
    with closing(Client(settings, OWNER_SECONDS)) as client:
        # A server that did not know the filter would return, and lose, everything.
        found = client.every(filters, show_expired=True)
        times = {str(said["id"]): _time(said) for said in found if said.get("metadata") == KEPT_BY}
        old = [id for id, when in times.items() if when is not None and when < before]
        for start in range(0, len(old), BATCH):
            client.batch_delete([{"memory_id": id} for id in old[start : start + BATCH]])
    return len(old)


def reindex(settings: RuntimeSettings, owner: Engine | None, embedder: Embedder) -> int:
    """Raises NotPossible."""
    msg = "Mem0's cloud makes its embeddings by itself: there is nothing to embed anew, so leave this command out."
    raise NotPossible(msg)
