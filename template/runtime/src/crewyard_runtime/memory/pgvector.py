"""The memory on the project's own Postgres: whether its lock holds, how old it gets, and how it is embedded anew.

Workers ask it these things too, so Mem0 is not imported here but in `pgvector_store`.
"""

import sqlalchemy
from sqlalchemy import Engine, make_url, text

from crewyard_runtime.memory import access
from crewyard_runtime.memory.access import TABLES
from crewyard_runtime.memory.records import Embedder, MemoryStore
from crewyard_runtime.settings import RuntimeSettings

BATCH = 100
CONNECT_SECONDS = 5


def open_store(settings: RuntimeSettings, user_id: str, token: str | None, embedder: Embedder) -> MemoryStore:
    """The store of one user."""
    from crewyard_runtime.memory.pgvector_store import PgVectorStore

    return PgVectorStore(user_id, _url(settings), token or "", embedder, settings.embedding_dimensions)


def problems(settings: RuntimeSettings) -> list[str]:
    """What stands open or does not fit. Raises SQLAlchemy's OperationalError if nobody answers."""
    url = make_url(_url(settings)).set(drivername="postgresql+psycopg")
    engine = sqlalchemy.create_engine(url, connect_args={"connect_timeout": CONNECT_SECONDS})
    try:
        with engine.begin() as tx:
            return access.open_doors(tx, settings.embedding_dimensions)
    finally:
        engine.dispose()


def prune(settings: RuntimeSettings, owner: Engine | None, days: float) -> int:
    """Delete what was remembered longer ago; returns how much."""
    assert owner is not None
    old = "DELETE FROM {table} WHERE remembered_at < now() - :days * interval '1 day'"
    with owner.begin() as tx:
        return sum(tx.execute(text(old.format(table=table)), {"days": days}).rowcount for table in TABLES)


def reindex(settings: RuntimeSettings, owner: Engine | None, embedder: Embedder) -> int:
    """Embed everything anew. A table that takes rows without a vector is one that an earlier call has begun."""
    assert owner is not None
    return sum(_reindex(table, settings.embedding_dimensions, owner, embedder) for table in TABLES)


def _reindex(table: str, dimensions: int, owner: Engine, embedder: Embedder) -> int:
    with owner.begin() as tx:
        begun = "SELECT NOT attnotnull FROM pg_attribute WHERE attrelid = to_regclass(:table) AND attname = 'vector'"
        if not tx.execute(text(begun), {"table": f"public.{table}"}).scalar():
            tx.execute(text(f"DROP INDEX IF EXISTS {table}_hnsw_idx"))
            tx.execute(text(f"ALTER TABLE {table} ALTER vector DROP NOT NULL"))
            tx.execute(text(f"ALTER TABLE {table} ALTER vector TYPE vector({dimensions}) USING NULL"))
            tx.execute(text(access.IN_THE_ROW.format(table=table)))
    done = 0
    while count := _embed_some(table, owner, embedder):
        done += count
    with owner.begin() as tx:
        tx.execute(text(access.HNSW_INDEX.format(table=table)))
        tx.execute(text(f"ALTER TABLE {table} ALTER vector SET NOT NULL"))
    return done


def _embed_some(table: str, owner: Engine, embedder: Embedder) -> int:
    with owner.begin() as tx:
        some = f"SELECT id, payload->>'data' AS data FROM {table} WHERE vector IS NULL LIMIT {BATCH}"
        rows = tx.execute(text(some)).all()
    if not rows:
        return 0
    vectors = embedder.embed_many([row.data or " " for row in rows])
    with owner.begin() as tx:
        tx.execute(
            text(
                f"UPDATE {table} SET vector = given.vector "
                "FROM unnest(CAST(:ids AS uuid[]), CAST(:vectors AS vector[])) AS given(id, vector) "
                f"WHERE {table}.id = given.id AND {table}.vector IS NULL"
            ),
            {"ids": [row.id for row in rows], "vectors": [str(vector) for vector in vectors]},
        )
    return len(rows)


def _url(settings: RuntimeSettings) -> str:
    assert settings.memory_database_url is not None  # `check` asks for it
    return settings.memory_database_url.get_secret_value()
