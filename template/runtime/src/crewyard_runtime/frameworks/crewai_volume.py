"""The memory in a mounted directory, for one worker: CrewAI's own store on LanceDB, without the model that it asks.

CrewAI finds a scope by its beginning alone, so that `/user/ab` finds `/user/abc` too (1.15.30). Each scope here ends in
a segment of its own, which no user id can go on with. What CrewAI deletes by a scope and an age is the whole scope: age
is asked for alone. Importing LanceDB starts threads, which no fork may have: it is imported where it is used.
"""

# mypy: disable-error-code="import-untyped,import-not-found"
# LanceDB and PyArrow are installed in projects that have chosen this memory.

import fcntl
import importlib.util
import math
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from crewyard_runtime.memory.backends import NotPossible
from crewyard_runtime.memory.embeddings import NoEmbedding
from crewyard_runtime.memory.records import Embedder, Record, Remembered, safe_user_id
from crewyard_runtime.settings import RuntimeSettings

TABLE = "memories"
ASIDE = "reindex-"  # followed by the model that vectors are made of anew
LOCK = "worker.lock"
BATCH = 100
OLD_FILES = timedelta(hours=1)  # LanceDB's own are seven days, for which files hold what was deleted; no call is longer
EXCLUDED = ("lancedb", "pyarrow")
REINDEX = "run the command `memory reindex`"


class InUse(NotPossible):
    """Another process works with the directory; the message says which."""


class VolumeStore:
    """For one user. directory: of the whole memory."""

    def __init__(self, user_id: str, directory: Path, embedder: Embedder, dimensions: int) -> None:
        self._scope = f"/user/{safe_user_id(user_id)}/own"
        self._directory = directory
        self._embedder = embedder
        self._dimensions = dimensions

    def add(self, text: str) -> str:
        """Keep a text and return its id. Raises NoEmbedding."""
        from crewai.memory.types import MemoryRecord

        id, now, vector = str(uuid.uuid4()), datetime.now(UTC), _unit(self._embedder.embed(text))
        record = MemoryRecord(
            id=id, content=text, scope=self._scope, created_at=now, last_accessed=now, embedding=vector
        )
        with _told_how_to_go_on():
            self._rows.save([record])
        return id

    def search(self, query: str, limit: int) -> list[Record]:
        """Up to `limit` records, the most alike first. Raises NoEmbedding."""
        vector = _unit(self._embedder.embed(query))
        with _told_how_to_go_on():
            found = self._rows.search(vector, scope_prefix=self._scope, limit=limit)
        return [_record(row, _cosine(score)) for row, score in found]

    def list(self, limit: int) -> list[Record]:
        """Up to `limit` records, in any order."""
        return [_record(row) for row in self._rows.list_records(self._scope, limit)]

    def get(self, id: str) -> Record | None:
        """One record; None if this user has none of this id."""
        row = self._rows.get_record(id)
        return None if row is None or row.scope != self._scope else _record(row)

    def delete(self, id: str) -> None:
        """Delete one record; its caller has looked whose it is."""
        self._rows.delete(record_ids=[id])

    def erase(self) -> dict[str, int]:
        """Delete all that is kept about the user, and tell how much that was."""
        _drop_aside(_connect(self._directory))
        return {TABLE: self._rows.delete(scope_prefix=self._scope)}

    def close(self) -> None:
        """It holds nothing open."""

    @property
    def _rows(self) -> Any:
        """Opened for each call: a table shows what was in it when it was opened, whatever is deleted afterwards."""
        return _open(self._directory, self._dimensions)


def open_store(settings: RuntimeSettings, user_id: str, token: str | None, embedder: Embedder) -> VolumeStore:
    """The store of one user."""
    return VolumeStore(user_id, _directory(settings), embedder, settings.embedding_dimensions)


def problems(settings: RuntimeSettings) -> list[str]:
    """What does not fit. Raises what LanceDB raises."""
    directory = _directory(settings)
    if missing := [name for name in EXCLUDED if importlib.util.find_spec(name) is None]:
        lines = " and ".join(f'"{name}",' for name in missing)
        return [f"CrewAI's store is not installed: delete {lines} from exclude-dependencies, then run `uv sync`."]
    if not directory.is_dir():
        return [f"There is no directory {directory}: mount it, or set MEMORY_DIR."]
    if not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
        return [f"The directory {directory} is not writable: give it to the user {os.geteuid()}, who runs this."]
    database = _connect(directory)
    there, wanted = _dimensions(database), settings.embedding_dimensions
    if there not in (None, wanted):
        return [
            f"The memory in {directory} holds embeddings of {there} dimensions, and the model gives {wanted}: "
            f"set EMBEDDING_DIMENSIONS back, or {REINDEX}."
        ]
    if _aside(database):
        return [f"The memory in {directory} was embedded anew in part only: {REINDEX} again."]
    return []


def prune(settings: RuntimeSettings, owner: Engine | None, days: float) -> int:
    """Delete what was remembered longer ago, and write the rest together; returns how much was deleted."""
    directory = _directory(settings)
    if _dimensions(_connect(directory)) is None:
        return 0
    rows = _open(directory, settings.embedding_dimensions)
    pruned: int = rows.delete(older_than=datetime.now(UTC) - timedelta(days=days))
    _connect(directory).open_table(TABLE).optimize(cleanup_older_than=OLD_FILES)
    return pruned


def reindex(settings: RuntimeSettings, owner: Engine | None, embedder: Embedder) -> int:
    """Embed everything anew, into a table aside that an earlier call may have begun; it counts once it is complete.

    Raises InUse while a worker is at work.
    """
    directory = _directory(settings)
    with only_worker(directory):
        database = _connect(directory)
        name = ASIDE + re.sub(r"[^A-Za-z0-9.-]", "-", f"{settings.embedding_model}-{settings.embedding_dimensions}")
        _drop_aside(database, but=name)
        if _dimensions(database) is None:
            return 0
        aside = database.create_table(name, schema=_aside_schema(settings.embedding_dimensions), exist_ok=True)
        done = _embed_rest(database.open_table(TABLE), aside, embedder)
        _swap(database, aside)
        _drop_aside(database)
        return done


@contextmanager
def only_worker(directory: Path) -> Iterator[None]:
    """Keep all other processes out that ask for the same, until the end or death. Raises InUse."""
    with (directory / LOCK).open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            msg = (
                f"The memory in {directory} is used by another worker (pid {file.read() or 'unknown'}): "
                "a memory on a volume takes one worker; choose pgvector for more."
            )
            raise InUse(msg) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _embed_rest(table: Any, aside: Any, embedder: Embedder) -> int:
    """Embed what is not in the table aside yet; returns how much."""
    ready = set(_columns(aside, ["id"])["id"].to_pylist())
    rest = [row for row in _columns(table, ["id", "content"]).to_pylist() if row["id"] not in ready]
    for start in range(0, len(rest), BATCH):
        some = rest[start : start + BATCH]
        vectors = embedder.embed_many([row["content"] or " " for row in some])
        aside.add([{"id": row["id"], "vector": _unit(vector)} for row, vector in zip(some, vectors, strict=True)])
    return len(rest)


def _swap(database: Any, aside: Any) -> None:
    """Write the rows with their new vectors as one new version of the table."""
    from pyarrow import compute

    table = database.open_table(TABLE)
    rows = _columns(table, [name for name in table.schema.names if name != "vector"])
    made = _columns(aside, ["id", "vector"])
    where = compute.index_in(rows["id"], value_set=made["id"])
    database.create_table(TABLE, rows.append_column("vector", made["vector"].take(where)), mode="overwrite")


def _aside_schema(dimensions: int) -> Any:
    import pyarrow

    return pyarrow.schema([("id", pyarrow.string()), ("vector", pyarrow.list_(pyarrow.float32(), dimensions))])


def _columns(table: Any, names: list[str]) -> Any:
    return table.search().select(names).limit(max(1, table.count_rows())).to_arrow()


def _aside(database: Any) -> list[str]:
    return [name for name in database.list_tables().tables if name.startswith(ASIDE)]


def _drop_aside(database: Any, but: str | None = None) -> None:
    """Drop vectors that nothing came of; those of an erased user may be among them."""
    for name in _aside(database):
        if name != but:
            database.drop_table(name)


def _dimensions(database: Any) -> int | None:
    if TABLE not in database.list_tables().tables:
        return None
    return int(database.open_table(TABLE).schema.field("vector").type.list_size)


def _connect(directory: Path) -> Any:
    import lancedb

    return lancedb.connect(directory)


def _open(directory: Path, dimensions: int) -> Any:
    from crewai.memory.storage.lancedb_storage import LanceDBStorage

    # A run is too short to write fragments together in the background: `prune` does.
    # crewyard: allow F15 because whoever chose `volume` keeps the directory
    return LanceDBStorage(directory, TABLE, dimensions, compact_every=0)


@contextmanager
def _told_how_to_go_on() -> Iterator[None]:
    """CrewAI's own message names commands that reset the memory."""
    from crewai.memory.storage.backend import EmbeddingDimensionMismatchError

    try:
        yield
    except EmbeddingDimensionMismatchError as error:
        msg = f"The memory holds embeddings of {error.stored_dim} dimensions, not of {error.new_dim}: {REINDEX}."
        raise NoEmbedding(msg) from None


def _record(row: Any, score: float | None = None) -> Record:
    scope = re.fullmatch(r"/user/([^/]+)/own", row.scope)
    return Record(scope and scope[1], Remembered(row.id, row.content, row.created_at, score))


def _unit(vector: list[float]) -> list[float]:
    """Of the length 1: the store compares by distance, which then is in the order of the cosine."""
    length = math.hypot(*vector) or 1.0
    return [each / length for each in vector]


def _cosine(score: float) -> float:
    """CrewAI's score is 1 / (1 + d), and d is the square of the distance: 2 - 2 cosines for vectors of the length 1."""
    return max(0.0, (3 - 1 / score) / 2)


def _directory(settings: RuntimeSettings) -> Path:
    assert settings.memory_dir is not None  # the settings ask for it
    return settings.memory_dir
