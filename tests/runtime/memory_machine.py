"""What the tests of all back ends share: filters that are too wide, embeddings without a server, users at random."""

import itertools
import uuid
from abc import ABC, abstractmethod
from typing import Any, Generic, TypeVar

from crewyard_runtime.memory.records import MemoryStore
from crewyard_runtime.memory.user_memory import UserMemory
from crewyard_runtime.testing.replies import embeddings
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

Store = TypeVar("Store", bound=MemoryStore)

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

    def __init__(self, dimensions: int = DIMENSIONS) -> None:
        self.dimensions = dimensions

    def embed(self, text: str) -> list[float]:
        """The embedding of one text."""
        return self.embed_many([text])[0]

    def embed_many(self, texts: list[str]) -> list[list[float]]:
        """The embeddings of several texts."""
        reply: Any = embeddings({"model": "text-embedding-3-small", "input": texts, "dimensions": self.dimensions})
        return [each["embedding"] for each in reply["data"]]


class Memories(ABC, Generic[Store]):
    """The memories of several users in one place. events: the kinds of what they reported."""

    def __init__(self) -> None:
        self.stores: dict[str, Store] = {}
        self.events: list[str] = []

    @abstractmethod
    def open(self, user_id: str) -> Store:
        """One user's store, opened anew."""

    def store(self, user_id: str) -> Store:
        """One user's store, as a run has it."""
        if user_id not in self.stores:
            self.stores[user_id] = self.open(user_id)
        return self.stores[user_id]

    def of(self, user_id: str) -> UserMemory:
        """One user's memory, as a run has it; its recall may take its time here."""
        return UserMemory(user_id, lambda: self.store(user_id), self.report, recall_seconds=5)

    def report(self, kind: str, data: dict[str, Any]) -> None:
        """Take an event."""
        self.events.append(kind)

    def close(self) -> None:
        """Close all connections."""
        for store in self.stores.values():
            store.close()


class Crowd(RuleBasedStateMachine):
    """Users at random, each thing they remember with their own canary in it."""

    memories: Memories[Any]
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


def run_crowd(memories: Memories[Any]) -> None:
    """Let users at random remember, recall and forget; fails if one sees or loses anything of another's."""
    machine = type("Crowd", (Crowd,), {"memories": memories})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=8,
            stateful_step_count=12,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
        ),
    )
