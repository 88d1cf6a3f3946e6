"""The memory on Postgres, by Mem0's store: two users, and what holds when one of the two locks is taken away."""

import random
from collections.abc import Iterator
from typing import Any

import pytest
from crewyard_runtime.memory.pgvector_store import PgVectorStore
from crewyard_runtime.memory.user_memory import UserMemory
from crewyard_runtime.testing.servers import Postgres
from psycopg.errors import InsufficientPrivilege, NotNullViolation
from runtime import memory_machine
from runtime.locked import Locked
from runtime.memory_machine import DIMENSIONS, WIDE, Embedder, run_crowd
from sqlalchemy import text


class Memories(memory_machine.Memories[PgVectorStore]):
    """Those in one database."""

    def __init__(self, locked: Locked) -> None:
        super().__init__()
        self.locked = locked

    def open(self, user_id: str) -> PgVectorStore:
        token = self.locked.key.sign(user_id, 600)
        return PgVectorStore(user_id, self.locked.url, token, Embedder(), DIMENSIONS)

    def close(self) -> None:
        super().close()
        self.locked.admin.close()


@pytest.fixture
def memories(postgres: Postgres, empty_database: str) -> Iterator[Memories]:
    """A database in which nobody remembers anything yet."""
    made = Memories(Locked(postgres, empty_database, DIMENSIONS))
    yield made
    made.close()


def test_what_is_remembered_is_recalled_the_most_alike_first(memories: Memories) -> None:
    alice = memories.of("alice")
    for fact in ("prefers answers in French", "has the plan Team since 2024", "lives in Oslo"):
        assert alice.remember(fact)
    found = alice.recall("Which plan does she have?", limit=2)
    assert str(found[0]) == "has the plan Team since 2024"
    assert len(found) == 2
    assert found[0].score is not None
    assert found[0].at is not None
    assert [str(each) for each in alice.all()] == [
        "prefers answers in French",
        "has the plan Team since 2024",
        "lives in Oslo",
    ]
    assert memories.events == []


def test_it_survives_whoever_remembered_it(memories: Memories) -> None:
    memories.of("alice").remember("likes tea")
    memories.stores.pop("alice").close()
    assert [str(each) for each in memories.of("alice").all()] == ["likes tea"]


def test_users_do_not_see_each_other(memories: Memories) -> None:
    alice, bob = memories.of("alice"), memories.of("bob")
    kept, _ = bob.remember("bob's code word is heron"), alice.remember("alice likes tea")
    assert kept
    assert [str(each) for each in alice.recall("code word heron", limit=100)] == ["alice likes tea"]
    assert not alice.forget(kept)
    assert [str(each) for each in bob.all()] == ["bob's code word is heron"]
    assert memories.events == []


@pytest.mark.parametrize("wide", WIDE, ids=str)
def test_without_the_first_lock_nothing_leaks(memories: Memories, wide: Any) -> None:
    memories.of("bob").remember("bob's code word is heron")
    memories.of("alice").remember("alice likes tea")
    [bobs] = memories.store("bob").list(10)
    alice = memories.store("alice")
    alice._filters = {"user_id": wide}
    seen = [record.user_id for record in (*alice.search("code word heron", 10), *alice.list(10))]
    assert set(seen) <= {"alice"}
    assert alice.get(bobs.remembered.id) is None
    alice.delete(bobs.remembered.id)
    assert len(memories.store("bob").list(10)) == 1
    with pytest.raises((InsufficientPrivilege, TypeError)):
        alice.add("nobody's")
    alice._filters = {"user_id": "bob"}
    with pytest.raises(InsufficientPrivilege):
        alice.add("written for bob")


@pytest.mark.parametrize("wide", WIDE, ids=str)
def test_without_the_second_lock_nothing_leaks(memories: Memories, wide: Any) -> None:
    bob, alice = memories.of("bob"), memories.of("alice")
    kept, _ = bob.remember("bob's code word is heron"), alice.remember("alice likes tea")
    assert kept
    with memories.locked.admin.transaction() as tx:
        tx.execute(text("ALTER TABLE memories DISABLE ROW LEVEL SECURITY"))
    memories.store("alice")._filters = {"user_id": wide}
    assert {str(each) for each in (*alice.recall("code word heron", 10), *alice.all())} == {"alice likes tea"}
    assert not alice.forget(kept)
    assert "memory.foreign" in memories.events


def test_one_who_remembers_little_is_found_among_many(memories: Memories) -> None:
    memories.of("alice").remember("alice likes tea")
    with memories.locked.admin.transaction() as tx:
        tx.execute(
            text(
                "INSERT INTO memories (id, vector, payload) SELECT gen_random_uuid(), "
                "(SELECT vector FROM memories LIMIT 1), "
                "jsonb_build_object('user_id', 'crowd', 'data', 'x') FROM generate_series(1, 3000)"
            )
        )
        tx.execute(text("ANALYZE memories"))
    assert [str(each) for each in memories.of("alice").recall("tea")] == ["alice likes tea"]
    assert len(memories.of("crowd").recall("tea", 100)) == 100


def test_many_users_at_random(memories: Memories) -> None:
    run_crowd(memories)
    assert memories.events == []


def test_the_longest_memory_fits_beside_the_longest_vector(postgres: Postgres, empty_database: str) -> None:
    locked = Locked(postgres, empty_database, 2_000)
    store = PgVectorStore("alice", locked.url, locked.key.sign("alice", 600), Embedder(2_000), 2_000)
    noise = "".join(map(chr, random.Random(0).choices(range(0x4E00, 0x9FFF), k=8_000)))  # nothing compresses it
    kept = UserMemory("alice", lambda: store, lambda kind, data: None).remember(noise)
    assert kept
    assert [record.remembered.text for record in store.list(10)] == [noise]
    store.close()
    locked.admin.close()


BAD_ROWS = {
    "no age": """{"user_id": "alice", "data": "x"}""",
    "garbage for an age": """{"user_id": "alice", "data": "x", "created_at": "garbage"}""",
    "a number for an age": """{"user_id": "alice", "data": "x", "created_at": 7}""",
    "no text": """{"user_id": "alice"}""",
}


@pytest.mark.parametrize("payload", BAD_ROWS.values(), ids=BAD_ROWS)
def test_a_row_that_a_run_has_spoilt_is_listed_all_the_same(memories: Memories, payload: str) -> None:
    alice = memories.of("alice")
    alice.remember("likes tea")
    with memories.store("alice")._connections.connection() as connection:
        connection.execute(
            "INSERT INTO memories (id, vector, payload) SELECT gen_random_uuid(), vector, %s FROM memories", [payload]
        )
    assert len(alice.all()) == 2
    assert len(alice.recall("tea")) == 2


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE memories SET remembered_at = 'infinity'",
        "INSERT INTO memories (id, vector, payload, remembered_at) "
        "SELECT gen_random_uuid(), vector, payload, 'infinity' FROM memories",
    ],
)
def test_a_run_does_not_say_how_old_a_memory_is(memories: Memories, statement: str) -> None:
    memories.of("alice").remember("likes tea")
    with memories.store("alice")._connections.connection() as connection, pytest.raises(InsufficientPrivilege):
        connection.execute(statement)


def test_a_memory_without_a_vector_is_refused(memories: Memories) -> None:
    memories.of("alice").remember("likes tea")
    with memories.store("alice")._connections.connection() as connection, pytest.raises(NotNullViolation):
        connection.execute("UPDATE memories SET vector = NULL")
