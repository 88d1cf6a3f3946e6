"""A memory on Qdrant: Mem0's own vector store, over a client that belongs to one user.

As for Postgres, Mem0's `Memory` is left out, and what is written is what it would write. Of Mem0 2.2 `Qdrant` is used.
Vectors of different dimensions have a collection each: `memories_1536`.
"""

# mypy: disable-error-code="import-untyped"
# Mem0 brings no types.

import re
import uuid
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

from mem0.vector_stores.qdrant import Qdrant
from qdrant_client import QdrantClient
from qdrant_client.models import (
    DatetimeRange,
    Distance,
    FieldCondition,
    Filter,
    FilterSelector,
    HasIdCondition,
    KeywordIndexParams,
    MatchValue,
    PayloadSchemaType,
    PointIdsList,
    PointStruct,
    QueryResponse,
    UpdateResult,
    VectorParams,
)
from qdrant_client.models import Record as Point
from sqlalchemy import Engine

from crewyard_runtime.memory.payload import new_payload, record_of
from crewyard_runtime.memory.records import Embedder, Record
from crewyard_runtime.settings import RuntimeSettings

BATCH = 100
RUN_SECONDS = 5
OWNER_SECONDS = 60


class TenantClient:
    """The second lock: Qdrant's client for one user, who sees and changes their own points, whatever is asked for.

    It has those methods of the client that Mem0's store needs here, and passes nothing on without the user's filter.
    """

    def __init__(self, client: QdrantClient, user_id: str) -> None:
        self.__client = client
        self.__user_id = user_id
        self.__own = FieldCondition(key="user_id", match=MatchValue(value=user_id))

    def query_points(
        self, collection_name: str, query: list[float], query_filter: Filter | None, limit: int
    ) -> QueryResponse:
        """The user's points that are nearest to a vector."""
        # The id of another's point would be a query too, and the scores would tell of it.
        vector = [float(number) for number in query]
        return self.__client.query_points(
            collection_name, vector, query_filter=self.__within(query_filter), limit=limit
        )

    def scroll(
        self,
        collection_name: str,
        scroll_filter: Filter | None,
        limit: int,
        with_payload: bool = True,
        with_vectors: bool = False,
    ) -> tuple[list[Point], Any]:
        """The user's points, and where the next ones begin."""
        return self.__client.scroll(
            collection_name, self.__within(scroll_filter), limit, with_payload=with_payload, with_vectors=with_vectors
        )

    def retrieve(self, collection_name: str, ids: list[str], with_payload: bool = True) -> list[Point]:
        """Those of these points that are the user's."""
        return self.scroll(collection_name, _with_ids(ids), len(ids), with_payload)[0]

    def upsert(self, collection_name: str, points: list[PointStruct]) -> UpdateResult:
        """Write the user's points. Raises PermissionError if one says that it is another's, or would overwrite one."""
        there = self.__client.retrieve(collection_name, [point.id for point in points], with_payload=["user_id"])
        payloads = [point.payload or {} for point in points] + [point.payload or {} for point in there]
        if any(payload.get("user_id") != self.__user_id for payload in payloads):
            msg = (
                f"A memory of {self.__user_id} would be or overwrite another user's: give it that user id and a new id."
            )
            raise PermissionError(msg)
        # The filter, for a point that another user wrote since the look at what is there.
        return self.__client.upsert(collection_name, points, update_filter=self.__within(None))

    def delete(self, collection_name: str, points_selector: PointIdsList | FilterSelector) -> UpdateResult:
        """Delete those of the selected points that are the user's."""
        chosen = points_selector
        selected = chosen.filter if isinstance(chosen, FilterSelector) else _with_ids(chosen.points)
        return self.__client.delete(collection_name, FilterSelector(filter=self.__within(selected)))

    def erase(self) -> int:
        """Delete all of the user's points, in the collections of other dimensions too; returns how many."""
        return _delete(self.__client, self.__within(None))

    def close(self) -> None:
        """Close its connections."""
        self.__client.close()

    def __within(self, given: Filter | None) -> Filter:
        return Filter(must=[self.__own] if given is None else [self.__own, given])


class Points(Qdrant):  # type: ignore[misc]
    """Mem0's store, for a collection that is there already."""

    def create_col(self, *_: Any, **__: Any) -> None:
        """Make nothing: Mem0 would index user_id once more, without is_tenant, each time that it is opened."""


class QdrantStore:
    """For one user."""

    def __init__(self, user_id: str, client: TenantClient, embedder: Embedder, dimensions: int) -> None:
        self._filters = {"user_id": user_id}
        self._embedder = embedder
        self._client = client
        self._points = Points(_name(dimensions), dimensions, client=client)

    def add(self, text: str) -> str:
        """Keep a text and return its id."""
        id = str(uuid.uuid4())
        self._points.insert([self._embedder.embed(text)], [new_payload(self._filters["user_id"], text)], [id])
        return id

    def search(self, query: str, limit: int) -> list[Record]:
        """Up to `limit` records, the most alike first."""
        found = self._points.search(query, self._embedder.embed(query), limit, self._filters)
        return [_record(point) for point in found]

    def list(self, limit: int) -> list[Record]:
        """Up to `limit` records, in any order."""
        points, _ = self._points.list(self._filters, limit)
        return [_record(point) for point in points]

    def get(self, id: str) -> Record | None:
        """One record; None if there is none of this id."""
        point = self._points.get(id)
        return None if point is None else _record(point)

    def delete(self, id: str) -> None:
        """Delete one record; its caller has looked whose it is."""
        self._points.delete(id)

    def erase(self) -> dict[str, int]:
        """Delete all that is kept about the user, and tell how many memories that was."""
        return {"memories": self._client.erase()}

    def close(self) -> None:
        """Close its connections."""
        self._client.close()


def _record(point: Any) -> Record:
    score = getattr(point, "score", None)
    alike = None if score is None else min(max(0.0, score), 1.0)  # cosine: from -1, and a little over 1 by rounding
    return record_of(point.id, point.payload, alike)


def open_store(settings: RuntimeSettings, user_id: str, token: str | None, embedder: Embedder) -> QdrantStore:
    """The store of one user; the first one makes the collection."""
    client, dimensions = _client(settings), settings.embedding_dimensions
    try:
        if not client.collection_exists(_name(dimensions)):
            _make(client, dimensions)
    except BaseException:
        client.close()
        raise
    return QdrantStore(user_id, TenantClient(client, user_id), embedder, dimensions)


def problems(settings: RuntimeSettings) -> list[str]:
    """What stands open or does not fit. Raises the client's ResponseHandlingException if nobody answers."""
    name, found = _name(settings.embedding_dimensions), []
    with closing(_client(settings)) as client:
        there = _collections(client)
        if others := [each for each in there if each != name]:
            found.append(
                f"EMBEDDING_DIMENSIONS asks for Qdrant's collection {name}, and memories are in {', '.join(others)}: "
                "run the command `memory reindex`."
            )
        if name in there and not _has_tenant_index(client, name):
            found.append(
                f"Qdrant's collection {name} has no tenant index on user_id, so that a recall looks through "
                "everybody's memories: run the command `memory reindex`."
            )
    return found


def prune(settings: RuntimeSettings, owner: Engine | None, days: float) -> int:
    """Delete what was remembered longer ago; returns how much."""
    old = FieldCondition(key="created_at", range=DatetimeRange(lt=datetime.now(UTC) - timedelta(days=days)))
    with closing(_client(settings, OWNER_SECONDS)) as client:
        return _delete(client, Filter(must=[old]))


def reindex(settings: RuntimeSettings, owner: Engine | None, embedder: Embedder) -> int:
    """Move everything from collections of other dimensions into that of the settings; if there are none, embed that
    one anew. What an earlier call has moved is no longer in the others.
    """
    name = _name(settings.embedding_dimensions)
    with closing(_client(settings, OWNER_SECONDS)) as client:
        others = [each for each in _collections(client) if each != name]
        _make(client, settings.embedding_dimensions)
        moved = sum(_move(client, other, name, embedder) for other in others)
        return moved if others else _embed_in_place(client, name, embedder)


def _move(client: QdrantClient, source: str, target: str, embedder: Embedder) -> int:
    moved = 0
    while points := client.scroll(source, limit=BATCH)[0]:
        moved += _embed(client, points, source, target, embedder)
        # What stayed here would come back with the next call, after its user has forgotten it there.
        client.delete(source, PointIdsList(points=[point.id for point in points]))
    client.delete_collection(source)
    return moved


def _embed_in_place(client: QdrantClient, name: str, embedder: Embedder) -> int:
    points, after = client.scroll(name, limit=BATCH)
    done = _embed(client, points, name, name, embedder)
    while after is not None:
        points, after = client.scroll(name, limit=BATCH, offset=after)
        done += _embed(client, points, name, name, embedder)
    return done


def _embed(client: QdrantClient, points: list[Point], source: str, target: str, embedder: Embedder) -> int:
    if not points:
        return 0
    payloads = {point.id: point.payload or {} for point in points}
    vectors = embedder.embed_many([str(payload.get("data") or " ") for payload in payloads.values()])
    # Embedding takes its time, in which users may have deleted some.
    still = {point.id for point in client.retrieve(source, list(payloads), with_payload=False)}
    made = [
        PointStruct(id=id, vector=vector, payload=payload)
        for (id, payload), vector in zip(payloads.items(), vectors, strict=True)
        if id in still
    ]
    if made:
        client.upsert(target, made)
    return len(made)


def _make(client: QdrantClient, dimensions: int) -> None:
    name = _name(dimensions)
    if not client.collection_exists(name):
        try:
            client.create_collection(name, VectorParams(size=dimensions, distance=Distance.COSINE))
        except Exception:
            # Another run may have been first.
            if not client.collection_exists(name):
                raise
    if not _has_tenant_index(client, name):
        client.create_payload_index(name, "user_id", KeywordIndexParams(type="keyword", is_tenant=True))  # type: ignore[arg-type]
    client.create_payload_index(name, "created_at", PayloadSchemaType.DATETIME)


def _has_tenant_index(client: QdrantClient, name: str) -> bool:
    index = client.get_collection(name).payload_schema.get("user_id")
    return index is not None and bool(getattr(index.params, "is_tenant", False))


def _delete(client: QdrantClient, which: Filter) -> int:
    deleted = 0
    for name in _collections(client):
        deleted += client.count(name, which, exact=True).count
        client.delete(name, FilterSelector(filter=which))
    return deleted


def _with_ids(ids: list[Any]) -> Filter:
    return Filter(must=[HasIdCondition(has_id=ids)])


def _name(dimensions: int) -> str:
    return f"memories_{dimensions}"


def _collections(client: QdrantClient) -> list[str]:
    names = (each.name for each in client.get_collections().collections)
    return sorted(name for name in names if re.fullmatch(r"memories_\d+", name))


def _client(settings: RuntimeSettings, seconds: int = RUN_SECONDS) -> QdrantClient:
    key = settings.qdrant_api_key
    return QdrantClient(
        url=settings.qdrant_url,
        api_key=key.get_secret_value() if key else None,
        timeout=seconds,
        check_compatibility=False,  # a request more for each run
    )
