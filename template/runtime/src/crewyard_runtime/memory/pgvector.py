"""A memory on Postgres: Mem0's own vector store, over a connection that belongs to one user.

Mem0's `Memory` is left out: its search asks twice for sixty rows where five are wanted, and it needs a model, a history
in a file and telemetry. What is written is what it would write, so that it can read the same tables. Of Mem0 2.2
`PGVector` is used, and any of its embedders will do.
"""

# mypy: disable-error-code="import-untyped"
# Mem0 brings no types.

import hashlib
import uuid
from datetime import UTC, datetime
from typing import Any, Protocol

from mem0.vector_stores.pgvector import PGVector
from psycopg.conninfo import make_conninfo
from psycopg_pool import ConnectionPool

from crewyard_runtime.memory.access import TABLES, TOKEN_SETTING
from crewyard_runtime.memory.records import Record, Remembered

CONNECTIONS = 2


class Embedder(Protocol):
    """What Mem0's embedders do."""

    def embed(self, text: str, memory_action: str | None = None) -> list[float]:
        """The embedding of a text."""


class PgVectorStore:
    """For one user. url: of the memory's role. token: signed for this user, for the second lock."""

    def __init__(self, user_id: str, url: str, token: str, embedder: Embedder, dimensions: int) -> None:
        self._filters = {"user_id": user_id}
        self._embedder = embedder
        # Without an iterative scan the index gives up before it has found this user among all others.
        options = f"-c {TOKEN_SETTING}={token} -c hnsw.iterative_scan=strict_order"
        # Each call is one statement: without autocommit a recall would wait for two more answers.
        self._connections = ConnectionPool(
            make_conninfo(url, options=options),
            min_size=0,
            max_size=CONNECTIONS,
            kwargs={"autocommit": True},
            open=True,
        )
        self._rows = PGVector(
            connection_pool=self._connections,
            collection_name=TABLES[0],
            embedding_model_dims=dimensions,
            **dict.fromkeys(("dbname", "user", "password", "host", "port", "diskann", "hnsw")),
        )

    def add(self, text: str) -> str:
        """Keep a text and return its id."""
        id, now = str(uuid.uuid4()), datetime.now(UTC).isoformat()
        payload = {
            **self._filters,
            "data": text,
            "hash": hashlib.md5(text.encode(), usedforsecurity=False).hexdigest(),
            "created_at": now,
            "updated_at": now,
            "text_lemmatized": text.lower(),
            "role": "user",
        }
        self._rows.insert([self._embedder.embed(text, "add")], [payload], [id])
        return id

    def search(self, query: str, limit: int) -> list[Record]:
        """Up to `limit` records, the most alike first."""
        return [
            _record(row)
            for row in self._rows.search(query, self._embedder.embed(query, "search"), limit, self._filters)
        ]

    def list(self, limit: int) -> list[Record]:
        """Up to `limit` records, in any order."""
        [rows] = self._rows.list(self._filters, limit)
        return [_record(row) for row in rows]

    def get(self, id: str) -> Record | None:
        """One record; None if there is none of this id."""
        row = self._rows.get(id)
        return None if row is None else _record(row)

    def delete(self, id: str) -> None:
        """Delete one record; its caller has looked whose it is."""
        self._rows.delete(id)

    def close(self) -> None:
        """Close its connections."""
        self._connections.close()


def _record(row: Any) -> Record:
    said = row.payload or {}
    at = said.get("created_at")
    when = None if at is None else datetime.fromisoformat(at)
    return Record(said.get("user_id"), Remembered(str(row.id), str(said.get("data", "")), when, row.score))
