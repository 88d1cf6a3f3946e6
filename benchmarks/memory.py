"""Measures what the memory on Postgres promises about time, against the same question without the runtime.

    uv run benchmarks/memory.py         all of it, which takes about five minutes
    uv run benchmarks/memory.py lock    some of it

| name   | measured                                   | compared with                               | bound   |
| ------ | ------------------------------------------ | ------------------------------------------- | ------- |
| recall | `PgVectorStore.search`                     | its query by psycopg, prepared              | <= 1.30 |
|        | that ratio with 100,000 memories           | with 1,000                                  | <= 1.10 |
|        | `PgVectorStore.search` of 100,000, p95     | 50 ms                                       | <= 1.00 |
| lock   | the query by the memory's role             | by a superuser, whom no policy holds        | <= 1.15 |

The embedding is ready-made: the call to the model that makes it is not measured. Each user has 100 memories. All sides
are measured in turns, on connections that are open. Exit code 1: a bound does not hold.
"""

import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache, partial
from pathlib import Path
from typing import Any

import psycopg
from crewyard_runtime.memory import access
from crewyard_runtime.memory.pgvector_store import PLANS, PgVectorStore
from crewyard_runtime.store import Database
from crewyard_runtime.testing.servers import Postgres
from crewyard_runtime.testing.service import new_database
from report import Measured, report
from sqlalchemy import make_url, text

SIZES = (1_000, 10_000, 100_000)
DIMENSIONS = 1_536
MEMORIES_OF_A_USER = 100
ASKING = 5  # users
TURNS = 300
LIMIT = 5
ROLE = "benchmark_memory"
TOKEN_SECONDS = 3_600
P95_MILLISECONDS = 50

# The subquery names the row, or Postgres would make one vector for all.
FILL = """
    INSERT INTO memories SELECT gen_random_uuid(),
        (SELECT array_agg(random() - 0.5) FROM generate_series(1, :dimensions) WHERE number > 0) :: vector,
        jsonb_build_object('user_id', 'user-' || number % :users, 'data', 'likes the number ' || number,
            'created_at', now())
    FROM generate_series(1, :memories) AS number
"""
# As Mem0's `PGVector.search` writes it.
QUERY = """
    SELECT id, vector <=> %s::vector AS distance, payload FROM memories WHERE payload->>%s = %s
    ORDER BY distance LIMIT %s
"""
Times = dict[str, list[float]]


class ReadyMade:
    """An embedder that makes nothing: `vector` is whatever was put there."""

    vector: list[float]

    def embed(self, text: str) -> list[float]:
        """The vector."""
        return self.vector

    def embed_many(self, texts: list[str]) -> list[list[float]]:
        """The vector, for each."""
        return [self.vector] * len(texts)


class User:
    """Who recalls in three ways. database_url: of a superuser."""

    def __init__(self, database_url: str, key: access.TokenKey, user_id: str, leaving: ExitStack) -> None:
        self._user_id, self._embedder = user_id, ReadyMade()
        url = make_url(database_url).set(username=ROLE).render_as_string(hide_password=False)
        token = key.sign(user_id, TOKEN_SECONDS)
        self._store = PgVectorStore(user_id, url, token, self._embedder, DIMENSIONS)
        leaving.callback(self._store.close)
        options = " ".join(f"-c {name}={value}" for name, value in {access.TOKEN_SETTING: token, **PLANS}.items())
        connect = partial(psycopg.connect, autocommit=True, options=options)
        self._straight, self._unlocked = (leaving.enter_context(connect(each)) for each in (url, database_url))

    def recall(self, vector: list[float]) -> dict[str, float]:
        """The milliseconds of each way."""
        self._embedder.vector = vector
        ways: dict[str, Callable[[], list[Any]]] = {
            "store": lambda: self._store.search("", LIMIT),
            "straight": lambda: self._ask(self._straight, vector),
            "unlocked": lambda: self._ask(self._unlocked, vector),
        }
        # What comes second finds the vectors near this one in Postgres's memory.
        order = random.sample(list(ways), len(ways))
        return {name: _milliseconds(ways[name]) for name in order}

    def _ask(self, connection: psycopg.Connection, vector: list[float]) -> list[Any]:
        return connection.execute(QUERY, (vector, "user_id", self._user_id, LIMIT), prepare=True).fetchall()


def _milliseconds(way: Callable[[], list[Any]]) -> float:
    start = time.perf_counter()
    found = way()
    taken = (time.perf_counter() - start) * 1_000
    assert len(found) == LIMIT
    return taken


def filled(server_url: str, memories: int) -> str:
    """The URL of a new database with so many memories in it."""
    url = new_database(server_url)
    database = Database(url)
    with database.transaction() as tx:
        access.migrate_memory(tx, ROLE, None, DIMENSIONS)
        # An index is made faster of rows than with them.
        tx.execute(text("DROP INDEX memories_hnsw_idx"))
        users = memories // MEMORIES_OF_A_USER
        tx.execute(text(FILL), {"memories": memories, "users": users, "dimensions": DIMENSIONS})
        tx.execute(text("SET LOCAL maintenance_work_mem = '2GB'"))
        tx.execute(text(access.HNSW_INDEX.format(table="memories")))
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE memories"))
    database.close()
    return url


def measure(server_url: str, memories: int) -> Times:
    """The milliseconds of each recall, by its way."""
    url = filled(server_url, memories)
    database = Database(url)
    with database.transaction() as tx:
        key = access.token_key(tx)
    database.close()
    with ExitStack() as leaving:
        users = [User(url, key, f"user-{number}", leaving) for number in range(ASKING)]
        # Until all statements are prepared, and all plans chosen: psycopg takes five times for it, and Postgres too.
        for _ in range(15):
            for user in users:
                user.recall(_any_vector())
        turns = [users[turn % ASKING].recall(_any_vector()) for turn in range(TURNS)]
    return {name: [turn[name] for turn in turns] for name in turns[0]}


def _any_vector() -> list[float]:
    return [random.gauss(0, 1) for _ in range(DIMENSIONS)]


def recall(times: Callable[[int], Times]) -> Iterator[Measured]:
    """What the store adds to its query."""
    pairs = {}
    for size in SIZES:
        pairs[size] = _medians(times(size), "store", "straight")
        yield Measured(f"recall of {size:,}", *pairs[size], "ms", 1.3)
    few, many = (pairs[size][0] / pairs[size][1] for size in (SIZES[0], SIZES[-1]))
    yield Measured("recall, that ratio by size", many, few, "times", 1.1)
    p95 = statistics.quantiles(times(SIZES[-1])["store"], n=20)[-1]
    yield Measured(f"recall of {SIZES[-1]:,}, p95", p95, P95_MILLISECONDS, "ms", 1)


def lock(times: Callable[[int], Times]) -> Iterator[Measured]:
    """What row-level security adds to a query."""
    for size in SIZES:
        yield Measured(f"lock of {size:,}", *_medians(times(size), "straight", "unlocked"), "ms", 1.15)


def _medians(times: Times, ours: str, theirs: str) -> tuple[float, float]:
    return statistics.median(times[ours]), statistics.median(times[theirs])


def main() -> int:
    """Measure what is asked for and print it."""
    with tempfile.TemporaryDirectory() as place, Postgres(Path(place) / "postgres") as postgres:
        times = cache(partial(measure, postgres.url))
        return report(
            "Measures what the memory on Postgres promises about time.",
            {"recall": partial(recall, times), "lock": partial(lock, times)},
        )


if __name__ == "__main__":
    sys.exit(main())
