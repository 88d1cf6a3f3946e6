"""The store of one user on Postgres: Mem0's own vector store, over a connection that belongs to this user.

Mem0's `Memory` is left out: its search asks twice for sixty rows where five are wanted, and it needs a model, a history
in a file and telemetry. What is written is what it would write, so that it can read the same tables. Of Mem0 2.2
`PGVector` is used.
"""

# mypy: disable-error-code="import-untyped"
# Mem0 brings no types.

import uuid
from typing import Any

from mem0.vector_stores.pgvector import PGVector
from psycopg.conninfo import make_conninfo
from psycopg_pool import ConnectionPool

from crewyard_runtime.memory.access import TABLES, TOKEN_SETTING
from crewyard_runtime.memory.payload import new_payload, record_of
from crewyard_runtime.memory.records import Embedder, Record

CONNECTIONS = 2
PLANS = {
    # Or the index gives up before it has found this user's among all others.
    "hnsw.iterative_scan": "strict_order",
    "hnsw.max_scan_tuples": 100_000,
    "hnsw.scan_mem_multiplier": 16,
    # A generic plan does not know the key of Mem0's filter, which is a parameter, and is up to a fifth slower.
    "plan_cache_mode": "force_custom_plan",
}


class PgVectorStore:
    """For one user. url: of the memory's role. token: signed for this user, for the second lock."""

    def __init__(self, user_id: str, url: str, token: str, embedder: Embedder, dimensions: int) -> None:
        self._filters = {"user_id": user_id}
        self._embedder = embedder
        options = " ".join(f"-c {name}={value}" for name, value in {TOKEN_SETTING: token, **PLANS}.items())
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
        id = str(uuid.uuid4())
        self._rows.insert([self._embedder.embed(text)], [new_payload(self._filters["user_id"], text)], [id])
        return id

    def search(self, query: str, limit: int) -> list[Record]:
        """Up to `limit` records, the most alike first."""
        return [_record(row) for row in self._rows.search(query, self._embedder.embed(query), limit, self._filters)]

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

    def erase(self) -> dict[str, int]:
        """Delete all that is kept about the user, and tell how many rows of which table that was."""
        with self._connections.connection() as connection:
            return {
                table: connection.execute(
                    f"DELETE FROM {table} WHERE payload->>'user_id' = %s", [self._filters["user_id"]]
                ).rowcount
                for table in TABLES
            }

    def close(self) -> None:
        """Close its connections."""
        self._connections.close()


def _record(row: Any) -> Record:
    return record_of(row.id, row.payload, row.score)
