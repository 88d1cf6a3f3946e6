"""The memory on Postgres, by Mem0's store: two users, and what holds when one of the two locks is taken away."""

import itertools
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from crewyard_runtime.memory.pgvector import PgVectorStore
from crewyard_runtime.memory.user_memory import UserMemory
from crewyard_runtime.testing.replies import embeddings
from crewyard_runtime.testing.servers import Postgres
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from psycopg.errors import InsufficientPrivilege
from runtime.locked import Locked
from sqlalchemy import text

DIMENSIONS = 64
WIDE: list[Any] = [
    "*",
    {"ne": ""},
    {"icontains": ""},
    {"nin": ["x"]},
    ["alice", "bob"],
    {"in": ["alice", "bob"]},
    {"contains": ""},
]


class Embedder:
    """The model server's embeddings, without its server."""

    def embed(self, text: str, memory_action: str | None = None) -> list[float]:
        reply: Any = embeddings({"model": "text-embedding-3-small", "input": [text], "dimensions": DIMENSIONS})
        vector: list[float] = reply["data"][0]["embedding"]
        return vector


class Memories:
    """The memories of several users in one database."""

    def __init__(self, locked: Locked) -> None:
        self.locked = locked
        self.stores: dict[str, PgVectorStore] = {}
        self.events: list[str] = []

    def store(self, user_id: str) -> PgVectorStore:
        """One user's store, as a run has it."""
        if user_id not in self.stores:
            token = self.locked.key.sign(user_id, 600)
            self.stores[user_id] = PgVectorStore(user_id, self.locked.url, token, Embedder(), DIMENSIONS)
        return self.stores[user_id]

    def of(self, user_id: str) -> UserMemory:
        """One user's memory, as a run has it; its recall may take its time here."""
        return UserMemory(user_id, self.store(user_id), lambda kind, data: self.events.append(kind), recall_seconds=5)

    def close(self) -> None:
        """Close all connections."""
        for store in self.stores.values():
            store.close()
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
                "INSERT INTO memories SELECT gen_random_uuid(), (SELECT vector FROM memories LIMIT 1), "
                "jsonb_build_object('user_id', 'crowd', 'data', 'x') FROM generate_series(1, 3000)"
            )
        )
        tx.execute(text("ANALYZE memories"))
    assert [str(each) for each in memories.of("alice").recall("tea")] == ["alice likes tea"]
    assert len(memories.of("crowd").recall("tea", 100)) == 100


class Crowd(RuleBasedStateMachine):
    """Users at random, each thing they remember with their own canary in it."""

    memories: Memories
    numbers = itertools.count()

    def __init__(self) -> None:
        super().__init__()
        run = next(self.numbers)
        self.users = [f"user:{run}.{number}@example" for number in range(4)]
        self.known: dict[str, dict[str, str]] = {user: {} for user in self.users}

    @rule(user=st.integers(0, 3), words=st.text(max_size=40))
    def remember(self, user: int, words: str) -> None:
        """Keep a canary."""
        name = self.users[user]
        fact = f"canary-{name}-{uuid.uuid4().hex} {words}"
        kept = self.memories.of(name).remember(fact)
        if kept:
            self.known[name][kept] = fact

    @rule(asking=st.integers(0, 3), about=st.integers(0, 3), limit=st.integers(1, 20))
    def recall(self, asking: int, about: int, limit: int) -> None:
        """Ask for another's."""
        name, other = self.users[asking], self.users[about]
        found = self.memories.of(name).recall(f"canary-{other}", limit)
        assert {each.id for each in found} <= set(self.known[name])
        assert len(found) == min(limit, len(self.known[name]))

    @rule(asking=st.integers(0, 3), about=st.integers(0, 3))
    def forget(self, asking: int, about: int) -> None:
        """Try to delete another's, and one's own."""
        name, other = self.users[asking], self.users[about]
        for id in list(self.known[other])[:1]:
            assert self.memories.of(name).forget(id) == (name == other)
            if name == other:
                del self.known[name][id]

    @invariant()
    def everybody_has_their_own(self) -> None:
        """All of it, and nothing else."""
        for name in self.users:
            assert {each.id for each in self.memories.of(name).all()} == set(self.known[name])


def test_many_users_at_random(memories: Memories) -> None:
    Crowd.memories = memories
    run_state_machine_as_test(
        Crowd,
        settings=settings(
            max_examples=8,
            stateful_step_count=12,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
        ),
    )
    assert memories.events == []
