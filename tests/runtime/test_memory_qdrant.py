"""The memory on Qdrant, by Mem0's store: two users, and what holds when one of the two locks is taken away.

No Qdrant server was found in PyPI, npm or Debian, so these tests run on the client's local mode, which knows no payload
indexes. What the client sends to a server is looked at by itself.
"""

import json
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from crewyard_runtime.memory import qdrant
from crewyard_runtime.memory.qdrant import QdrantStore, TenantClient
from crewyard_runtime.settings import RuntimeSettings
from qdrant_client import QdrantClient
from qdrant_client.models import (
    Filter,
    FilterSelector,
    HasIdCondition,
    PayloadIndexInfo,
    PointIdsList,
    PointStruct,
)
from runtime import memory_machine
from runtime.memory_machine import DIMENSIONS, Embedder, run_crowd
from runtime.memory_machine import WIDE as WIDE_ANYWHERE

NAME = f"memories_{DIMENSIONS}"
OLD_NAME = "memories_32"
# The empty text, which is in every user id for Postgres, is in none for Qdrant.
WIDE = [*WIDE_ANYWHERE, {"contains": "bob"}, {"icontains": "bob"}]


class LocalClient(QdrantClient):
    """Local mode, which stays open for all, and tells its payload indexes as a server does."""

    def __init__(self) -> None:
        super().__init__(":memory:")
        self.indexes: dict[tuple[str, str], PayloadIndexInfo] = {}

    def close(self, *_: Any, **__: Any) -> None:
        """Stay open."""

    def create_payload_index(self, collection_name: str, field_name: str, field_schema: Any = None, **_: Any) -> Any:  # type: ignore[override]
        """Take note of it; local mode would only warn."""
        named = isinstance(field_schema, str)
        kind, params = (field_schema, None) if named else (field_schema.type, field_schema)
        self.indexes[collection_name, field_name] = PayloadIndexInfo(data_type=kind, params=params, points=0)

    def get_collection(self, collection_name: str, **_: Any) -> Any:
        """What it is, with its indexes."""
        info = super().get_collection(collection_name)
        schema = {field: index for (name, field), index in self.indexes.items() if name == collection_name}
        return info.model_copy(update={"payload_schema": schema})


class Memories(memory_machine.Memories[QdrantStore]):
    """Those in one Qdrant."""

    def __init__(self) -> None:
        super().__init__()
        self.client = LocalClient()
        self.settings = settings(DIMENSIONS)

    def open(self, user_id: str) -> QdrantStore:
        return qdrant.open_store(self.settings, user_id, None, Embedder())

    def unlock(self, user_id: str) -> None:
        """Take the second lock away from one user's store."""
        self.store(user_id)._points.client = self.client

    def put_old(self, count: int, user_id: str = "alice") -> set[str]:
        """Fill a collection of other dimensions, and return what it holds."""
        store = qdrant.open_store(settings(32), user_id, None, Embedder(32))
        return {store.add(f"fact {number} of {user_id}") for number in range(count)}

    def ids(self, collection: str) -> set[Any]:
        """All that is in a collection."""
        return {point.id for point in self.client.scroll(collection, limit=10_000)[0]}


def settings(dimensions: int) -> RuntimeSettings:
    """The settings of a project with Qdrant."""
    return RuntimeSettings(memory="qdrant", qdrant_url="http://qdrant.invalid:6333", embedding_dimensions=dimensions)


@pytest.fixture
def memories(monkeypatch: pytest.MonkeyPatch) -> Iterator[Memories]:
    """A Qdrant in which nobody remembers anything yet."""
    made = Memories()
    monkeypatch.setattr(qdrant, "_client", lambda *_: made.client)
    yield made
    QdrantClient.close(made.client)


def test_what_is_remembered_is_recalled_the_most_alike_first(memories: Memories) -> None:
    alice = memories.of("alice")
    for fact in ("prefers answers in French", "has the plan Team since 2024", "lives in Oslo"):
        assert alice.remember(fact)
    found = alice.recall("Which plan does she have?", limit=2)
    assert str(found[0]) == "has the plan Team since 2024"
    assert len(found) == 2
    assert found[0].score is not None
    assert 0 < found[0].score <= 1
    assert memories.events == []


def test_all_is_everything_the_oldest_first(memories: Memories) -> None:
    alice = memories.of("alice")
    facts = [f"fact {number}" for number in range(5)]
    for fact in facts:
        alice.remember(fact)
    assert [str(each) for each in alice.all()] == facts


def test_what_is_forgotten_is_gone(memories: Memories) -> None:
    alice = memories.of("alice")
    kept = alice.remember("likes tea")
    assert kept
    assert alice.forget(kept)
    assert memories.ids(NAME) == set()


def test_users_do_not_see_each_other(memories: Memories) -> None:
    alice, bob = memories.of("alice"), memories.of("bob")
    kept, _ = bob.remember("bob's code word is heron"), alice.remember("alice likes tea")
    assert kept
    assert [str(each) for each in alice.recall("code word heron", limit=100)] == ["alice likes tea"]
    assert not alice.forget(kept)
    assert [str(each) for each in bob.all()] == ["bob's code word is heron"]
    assert memories.events == []


def test_erase_takes_all_of_one_user_and_nothing_else(memories: Memories) -> None:
    for number in range(3):
        memories.store("alice").add(f"fact {number}")
    kept = memories.store("bob").add("bob's code word is heron")
    assert memories.store("alice").erase() == {"memories": 3}
    assert memories.ids(NAME) == {kept}


def test_erase_takes_what_is_not_yet_reindexed(memories: Memories) -> None:
    memories.put_old(2)
    kept = memories.put_old(1, "bob")
    assert memories.store("alice").erase() == {"memories": 2}
    assert memories.ids(OLD_NAME) == kept


@pytest.mark.parametrize("wide", WIDE, ids=str)
def test_without_the_first_lock_nothing_is_read(memories: Memories, wide: Any) -> None:
    bobs = memories.store("bob").add("bob's code word is heron")
    alice = memories.store("alice")
    own = alice.add("alice likes tea")
    alice._filters = {"user_id": wide}
    seen = {record.remembered.id for record in (*alice.search("code word heron", 10), *alice.list(10))}
    assert seen <= {own}
    assert alice.get(bobs) is None


@pytest.mark.parametrize("wide", WIDE, ids=str)
def test_without_the_first_lock_nothing_is_changed(memories: Memories, wide: Any) -> None:
    bobs = memories.store("bob").add("bob's code word is heron")
    alice = memories.store("alice")
    alice._filters = {"user_id": wide}
    alice.delete(bobs)
    assert alice.erase() == {"memories": 0}
    with pytest.raises(PermissionError):
        alice.add("nobody's")
    assert memories.ids(NAME) == {bobs}


@pytest.mark.parametrize("wide", [each for each in WIDE if each not in ({"contains": ""}, {"icontains": ""})], ids=str)
def test_without_the_second_lock_nothing_leaks(memories: Memories, wide: Any) -> None:
    bob, alice = memories.of("bob"), memories.of("alice")
    kept, _ = bob.remember("bob's code word is heron"), alice.remember("alice likes tea")
    assert kept
    memories.unlock("alice")
    memories.store("alice")._filters = {"user_id": wide}
    assert {str(each) for each in (*alice.recall("code word heron", 10), *alice.all())} <= {"alice likes tea"}
    assert not alice.forget(kept)
    assert memories.ids(NAME) >= {kept}
    assert "memory.foreign" in memories.events


def test_without_the_second_lock_the_first_one_filters(memories: Memories) -> None:
    memories.store("bob").add("bob's code word is heron")
    memories.unlock("alice")
    assert memories.store("alice").search("code word heron", 10) == []
    assert memories.store("alice").list(10) == []


def alices(memories: Memories) -> TenantClient:
    """The client of alice, with a memory of bob's beside it."""
    memories.store("alice")
    return TenantClient(memories.client, "alice")


EVERYTHING: list[Filter | None] = [None, Filter(), Filter(must_not=[HasIdCondition(has_id=[])])]


@pytest.mark.parametrize("wide", EVERYTHING, ids=["none", "empty", "not nothing"])
def test_a_tenant_reads_nothing_of_others_by_any_filter(memories: Memories, wide: Filter | None) -> None:
    bobs, client = memories.store("bob").add("bob's code word is heron"), alices(memories)
    vector = Embedder().embed("code word heron")
    assert client.query_points(NAME, vector, wide, 10).points == []
    assert client.scroll(NAME, wide, 10)[0] == []
    assert client.retrieve(NAME, [bobs]) == []


@pytest.mark.parametrize("wide", EVERYTHING[1:], ids=["empty", "not nothing"])
def test_a_tenant_deletes_nothing_of_others_by_any_selector(memories: Memories, wide: Filter) -> None:
    bobs, client = memories.store("bob").add("bob's code word is heron"), alices(memories)
    client.delete(NAME, PointIdsList(points=[bobs]))
    client.delete(NAME, FilterSelector(filter=wide))
    assert memories.ids(NAME) == {bobs}


def test_a_tenant_does_not_ask_by_the_id_of_anothers_memory(memories: Memories) -> None:
    bobs, client = memories.store("bob").add("bob's code word is heron"), alices(memories)
    memories.store("alice").add("alice likes tea")
    query: Any = bobs
    with pytest.raises(ValueError, match="could not convert"):
        client.query_points(NAME, query, None, 10)


@pytest.mark.parametrize("payload", [{"user_id": "bob"}, {"user_id": ["alice", "bob"]}, {}, None], ids=str)
def test_a_tenant_writes_nothing_that_is_anothers(memories: Memories, payload: dict[str, Any] | None) -> None:
    point = PointStruct(id=str(uuid.uuid4()), vector=Embedder().embed("x"), payload=payload)
    with pytest.raises(PermissionError, match="another user's"):
        alices(memories).upsert(NAME, [point])


def test_a_tenant_overwrites_nothing_that_is_anothers(memories: Memories) -> None:
    bobs, client = memories.store("bob").add("bob's code word is heron"), alices(memories)
    point = PointStruct(id=bobs, vector=Embedder().embed("x"), payload={"user_id": "alice", "data": "x"})
    with pytest.raises(PermissionError, match="another user's"):
        client.upsert(NAME, [point])


def test_a_tenant_overwrites_nothing_that_another_wrote_at_the_same_moment(
    memories: Memories, monkeypatch: pytest.MonkeyPatch
) -> None:
    bobs, client = memories.store("bob").add("bob's code word is heron"), alices(memories)
    monkeypatch.setattr(memories.client, "retrieve", lambda *_, **__: [])
    client.upsert(NAME, [PointStruct(id=bobs, vector=Embedder().embed("x"), payload={"user_id": "alice"})])
    assert [str(each) for each in memories.of("bob").all()] == ["bob's code word is heron"]


def test_a_tenant_has_no_further_methods() -> None:
    public = {name for name in dir(TenantClient) if not name.startswith("_")}
    assert public == {"query_points", "scroll", "retrieve", "upsert", "delete", "erase", "close"}


def test_every_request_to_a_server_names_the_tenant() -> None:
    sent: list[tuple[str, Any]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        path = request.url.path.removeprefix(f"/collections/{NAME}")
        sent.append((path, json.loads(request.content or b"{}")))
        results: dict[str, Any] = {
            "/points/query": {"points": []},
            "/points/scroll": {"points": []},
            "/points/count": {"count": 0},
            "/points": [],
            "/collections": {"collections": [{"name": NAME}]},
        }
        written = {"operation_id": 1, "status": "completed"}
        result = written if request.method == "PUT" else results.get(path, written)
        return httpx.Response(200, json={"result": result, "status": "ok", "time": 0.0})

    real = QdrantClient("http://qdrant.invalid:6333", check_compatibility=False, transport=httpx.MockTransport(answer))
    store = QdrantStore("alice", TenantClient(real, "alice"), Embedder(), DIMENSIONS)
    id = store.add("alice likes tea")
    store._filters = {"user_id": "*"}
    for call in (lambda: store.search("tea", 5), lambda: store.list(5), lambda: store.get(id), lambda: store.erase()):
        call()
    store.delete(id)
    store.close()
    own = {"key": "user_id", "match": {"value": "alice"}}
    looked_up, *others = [(path, body) for path, body in sent if path != "/collections"]
    assert looked_up == ("/points", {"ids": [id], "with_payload": ["user_id"], "with_vector": False})
    assert [path for path, _ in others] == [
        "/points",
        "/points/query",
        "/points/scroll",
        "/points/scroll",
        "/points/count",
        "/points/delete",
        "/points/delete",
    ]
    for _, body in others:
        assert own in (body.get("filter") or body["update_filter"])["must"]


def test_many_users_at_random(memories: Memories) -> None:
    run_crowd(memories)
    assert memories.events == []


def test_the_first_run_makes_the_collection_with_its_indexes(memories: Memories) -> None:
    memories.store("alice")
    assert memories.client.indexes[NAME, "user_id"].params.is_tenant  # type: ignore[union-attr]
    assert memories.client.indexes[NAME, "created_at"].data_type == "datetime"
    assert qdrant.problems(memories.settings) == []


def test_two_runs_that_open_at_once_both_have_the_collection(
    memories: Memories, monkeypatch: pytest.MonkeyPatch
) -> None:
    both, create = threading.Barrier(2, timeout=5), memories.client.create_collection

    def create_at_once(*args: Any, **more: Any) -> bool:
        both.wait()
        return create(*args, **more)

    monkeypatch.setattr(memories.client, "create_collection", create_at_once)
    with ThreadPoolExecutor() as pool:
        for store in pool.map(memories.store, ["alice", "bob"]):
            store.add("x")
    assert len(memories.ids(NAME)) == 2


def test_a_collection_that_cannot_be_made_is_an_error(memories: Memories, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> bool:
        raise RuntimeError("no space")

    monkeypatch.setattr(memories.client, "create_collection", refuse)
    with pytest.raises(RuntimeError, match="no space"):
        qdrant.open_store(memories.settings, "alice", None, Embedder())


def test_where_nothing_is_kept_yet_there_is_no_problem(memories: Memories) -> None:
    assert qdrant.problems(memories.settings) == []


def test_memories_of_other_dimensions_are_a_problem(memories: Memories) -> None:
    memories.put_old(1)
    [problem] = qdrant.problems(memories.settings)
    assert NAME in problem
    assert OLD_NAME in problem
    assert "`memory reindex`" in problem


def test_memories_of_other_dimensions_stay_a_problem_when_a_run_has_begun_anew(memories: Memories) -> None:
    memories.put_old(1)
    memories.store("alice").add("alice likes tea")
    assert len(qdrant.problems(memories.settings)) == 1


def test_a_missing_tenant_index_is_a_problem(memories: Memories) -> None:
    memories.store("alice")
    memories.client.create_payload_index(NAME, "user_id", "keyword")  # as Mem0 does it
    [problem] = qdrant.problems(memories.settings)
    assert "no tenant index" in problem


def test_reindex_makes_a_missing_tenant_index(memories: Memories) -> None:
    memories.store("alice")
    memories.client.indexes.clear()
    qdrant.reindex(memories.settings, None, Embedder())
    assert qdrant.problems(memories.settings) == []


def test_reindex_moves_everything_to_the_new_dimensions(memories: Memories) -> None:
    ids = memories.put_old(250)
    assert qdrant.reindex(memories.settings, None, Embedder()) == 250
    assert memories.ids(NAME) == ids
    assert not memories.client.collection_exists(OLD_NAME)
    assert [str(each) for each in memories.of("alice").recall("fact 7 of alice", 1)] == ["fact 7 of alice"]


class Failing(Embedder):
    """Gives up at its second call."""

    calls = 0

    def embed_many(self, texts: list[str]) -> list[list[float]]:
        self.calls += 1
        if self.calls > 1:
            raise ConnectionError("the model server went away")
        return super().embed_many(texts)


def test_reindex_goes_on_where_it_was_ended(memories: Memories) -> None:
    ids = memories.put_old(250)
    with pytest.raises(ConnectionError):
        qdrant.reindex(memories.settings, None, Failing())
    assert memories.ids(NAME) | memories.ids(OLD_NAME) == ids
    assert qdrant.reindex(memories.settings, None, Embedder()) == 150
    assert memories.ids(NAME) == ids


def test_what_is_forgotten_between_two_reindexes_stays_forgotten(memories: Memories) -> None:
    memories.put_old(150)
    with pytest.raises(ConnectionError):
        qdrant.reindex(memories.settings, None, Failing())
    forgotten = memories.of("alice").all()[0].id
    assert memories.of("alice").forget(forgotten)
    qdrant.reindex(memories.settings, None, Embedder())
    assert forgotten not in memories.ids(NAME)


class Erasing(Embedder):
    """While it embeds, alice has everything erased."""

    def __init__(self, memories: Memories) -> None:
        super().__init__()
        self.memories = memories

    def embed_many(self, texts: list[str]) -> list[list[float]]:
        self.memories.store("alice").erase()
        return super().embed_many(texts)


@pytest.mark.parametrize("old", [True, False], ids=["moved", "in place"])
def test_what_is_erased_during_a_reindex_stays_erased(memories: Memories, old: bool) -> None:
    memories.put_old(3) if old else memories.store("alice").add("alice likes tea")
    assert qdrant.reindex(memories.settings, None, Erasing(memories)) == 0
    assert memories.ids(NAME) == set()


def test_reindex_without_other_collections_embeds_anew(memories: Memories) -> None:
    wrong = QdrantStore("alice", TenantClient(memories.client, "alice"), Upside(), DIMENSIONS)
    memories.store("alice")
    ids = {wrong.add(f"fact {number}") for number in range(120)}
    assert qdrant.reindex(memories.settings, None, Embedder()) == 120
    assert memories.ids(NAME) == ids
    [found] = memories.store("alice").search("fact 7", 1)
    assert found.remembered.score == pytest.approx(1)


class Upside(Embedder):
    """Another model: its vectors point the other way."""

    def embed_many(self, texts: list[str]) -> list[list[float]]:
        return [[-number for number in vector] for vector in super().embed_many(texts)]


def test_prune_deletes_what_is_older_of_every_user(memories: Memories) -> None:
    young = memories.store("alice").add("young")
    for user in ("alice", "bob"):
        at = (datetime.now(UTC) - timedelta(days=31)).isoformat()
        payload = {"user_id": user, "data": "old", "created_at": at}
        point = PointStruct(id=str(uuid.uuid4()), vector=Embedder().embed("old"), payload=payload)
        memories.client.upsert(NAME, [point])
    assert qdrant.prune(memories.settings, None, 30) == 2
    assert memories.ids(NAME) == {young}


def test_prune_looks_into_collections_of_other_dimensions(memories: Memories) -> None:
    memories.put_old(2)
    assert qdrant.prune(memories.settings, None, 0) == 2


def test_collections_of_others_are_left_alone(memories: Memories) -> None:
    memories.store("alice")
    memories.client.create_collection("memories_of_somebody", {})
    qdrant.reindex(memories.settings, None, Embedder())
    qdrant.prune(memories.settings, None, 0)
    assert memories.client.collection_exists("memories_of_somebody")
    assert qdrant.problems(memories.settings) == []


def test_a_run_waits_for_a_server_for_seconds_only() -> None:
    client: Any = qdrant._client(settings(DIMENSIONS))
    assert client._client._rest_args["timeout"] == qdrant.RUN_SECONDS
