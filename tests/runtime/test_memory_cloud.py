"""The memory in Mem0's cloud, by Mem0's client: two users, and what holds when Mem0 gives too much, or fails."""

# mypy: disable-error-code="import-untyped"
# Mem0 brings no types.

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from crewyard_runtime.memory import mem0_cloud
from crewyard_runtime.memory.backends import NotPossible
from crewyard_runtime.memory.mem0_cloud import KEPT_BY, Mem0CloudStore
from crewyard_runtime.settings import RuntimeSettings
from crewyard_runtime.testing.mem0_server import Mem0Server
from mem0.exceptions import AuthenticationError, NetworkError, RateLimitError
from mem0.exceptions import MemoryError as Mem0Error
from pydantic import SecretStr
from runtime import memory_machine
from runtime.memory_machine import WIDE, Embedder, run_crowd

KEY = "m0-test"


class Memories(memory_machine.Memories[Mem0CloudStore]):
    """Those in one project of Mem0's cloud."""

    def __init__(self) -> None:
        super().__init__()
        self.server = Mem0Server(KEY)
        self.settings = settings(self.server.url)

    def open(self, user_id: str) -> Mem0CloudStore:
        return mem0_cloud.open_store(self.settings, user_id, None, Embedder())

    def close(self) -> None:
        super().close()
        self.server.close()


def settings(url: str, key: str = KEY) -> RuntimeSettings:
    """The settings of a project with Mem0's cloud."""
    return RuntimeSettings(memory="mem0-cloud", mem0_url=url, mem0_api_key=SecretStr(key))


@pytest.fixture
def memories() -> Iterator[Memories]:
    """A Mem0 in which nobody remembers anything yet."""
    made = Memories()
    yield made
    made.close()


def test_what_is_remembered_is_recalled_the_most_alike_first(memories: Memories) -> None:
    alice = memories.of("alice")
    for fact in ("prefers answers in French", "has the plan Team since 2024", "lives in Oslo"):
        assert alice.remember(fact)
    found = alice.recall("Which plan has she?", limit=2)
    assert str(found[0]) == "has the plan Team since 2024"
    assert len(found) == 2
    assert found[0].score is not None
    assert 0 < found[0].score <= 1
    assert memories.events == []


def test_all_is_everything_the_oldest_first(memories: Memories) -> None:
    for days in range(5):
        memories.server.put("alice", f"{days} days ago", days)
    assert [str(each) for each in memories.of("alice").all()] == [f"{days} days ago" for days in (4, 3, 2, 1, 0)]


def test_what_is_forgotten_is_gone(memories: Memories) -> None:
    alice = memories.of("alice")
    kept = alice.remember("likes tea")
    assert kept
    assert alice.forget(kept)
    assert memories.server.memories == {}


def test_an_unknown_id_cannot_be_forgotten(memories: Memories) -> None:
    assert not memories.of("alice").forget("00000000-0000-4000-8000-000000000000")
    assert memories.events == []


def test_users_do_not_see_each_other(memories: Memories) -> None:
    alice, bob = memories.of("alice"), memories.of("bob")
    bob.remember("bob's code word is heron")
    alice.remember("alice likes tea")
    assert [str(each) for each in alice.recall("code word heron", limit=100)] == ["alice likes tea"]
    assert [str(each) for each in bob.all()] == ["bob's code word is heron"]
    assert memories.events == []


def test_what_mem0_is_asked_for_is_one_users(memories: Memories) -> None:
    memories.server.put("bob", "bob's code word is heron")
    assert memories.store("alice").search("code word heron", 10) == []
    assert memories.store("alice").list(10) == []


def test_erase_takes_all_of_one_user_and_nothing_else(memories: Memories) -> None:
    for number in range(3):
        memories.server.put("alice", f"fact {number}")
    memories.server.put("bob", "bob's code word is heron")
    assert memories.store("alice").erase() == {"memories": 3}
    assert [each["user_id"] for each in memories.server.memories.values()] == ["bob"]


@pytest.mark.parametrize("wide", WIDE, ids=str)
def test_with_a_wide_filter_nothing_is_read(memories: Memories, wide: Any) -> None:
    memories.server.put("bob", "bob's code word is heron")
    memories.server.put("alice", "alice likes tea")
    memories.store("alice")._filters = {"user_id": wide}
    alice = memories.of("alice")
    assert {str(each) for each in (*alice.recall("code word heron", 10), *alice.all())} == {"alice likes tea"}
    assert memories.events == ["memory.foreign"] * 2


@pytest.mark.parametrize("wide", WIDE, ids=str)
def test_with_a_wide_filter_nothing_is_changed(memories: Memories, wide: Any) -> None:
    memories.server.put("bob", "bob's code word is heron")
    alice = memories.store("alice")
    alice._filters = {"user_id": wide}
    alice.add("alice likes tea")
    assert alice.erase() == {"memories": 1}
    assert memories.server.of("bob") == ["bob's code word is heron"]


def test_when_mem0_gives_everybodys_nothing_is_read(memories: Memories) -> None:
    memories.server.put("bob", "bob's code word is heron")
    memories.server.put("alice", "alice likes tea")
    memories.server.leaking = True
    alice = memories.of("alice")
    assert {str(each) for each in (*alice.recall("code word heron", 10), *alice.all())} == {"alice likes tea"}
    assert memories.events == ["memory.foreign"] * 2


def test_when_mem0_gives_everybodys_erase_counts_ones_own(memories: Memories) -> None:
    memories.server.put("bob", "bob's code word is heron")
    memories.server.put("alice", "alice likes tea")
    alice = memories.store("alice")
    memories.server.leaking = True
    assert alice.erase() == {"memories": 1}


def test_a_memory_that_is_nobodys_is_not_read(memories: Memories) -> None:
    memories.server.put("alice", "alice likes tea")
    memories.server.anonymous = True
    assert memories.of("alice").all() == []
    assert memories.events == ["memory.foreign"]


def test_another_users_memory_is_not_forgotten(memories: Memories) -> None:
    bobs = memories.server.put("bob", "bob's code word is heron")
    assert not memories.of("alice").forget(bobs)
    assert memories.server.of("bob") == ["bob's code word is heron"]
    assert memories.events == []


def test_another_users_memory_is_not_given(memories: Memories) -> None:
    bobs = memories.server.put("bob", "bob's code word is heron")
    assert memories.store("alice").get(bobs) is None


def test_another_users_memory_is_not_deleted(memories: Memories) -> None:
    bobs = memories.server.put("bob", "bob's code word is heron")
    with pytest.raises(PermissionError, match="There is no memory"):
        memories.store("alice").delete(bobs)
    assert memories.server.of("bob") == ["bob's code word is heron"]


def test_an_unknown_memory_is_not_deleted(memories: Memories) -> None:
    with pytest.raises(PermissionError, match="There is no memory"):
        memories.store("alice").delete("00000000-0000-4000-8000-000000000000")


@pytest.mark.parametrize("id", ["*", "", "alice bob", "a/b"])
def test_a_user_id_that_is_a_pattern_is_refused(memories: Memories, id: str) -> None:
    with pytest.raises(ValueError, match="user id"):
        mem0_cloud.open_store(memories.settings, id, None, Embedder())


def test_many_users_at_random(memories: Memories) -> None:
    run_crowd(memories)
    assert memories.events == []


def test_mem0_is_told_to_keep_the_text_as_it_is(memories: Memories) -> None:
    memories.store("alice").add("likes tea")
    [(_, _, body)] = memories.server.requests
    assert body == {
        "messages": [{"role": "user", "content": "likes tea"}],
        "user_id": "alice",
        "infer": False,
        "metadata": KEPT_BY,
    }


def test_the_id_of_a_memory_is_mem0s_own(memories: Memories) -> None:
    assert {memories.store("alice").add("likes tea")} == set(memories.server.memories)


def test_a_memory_that_mem0_puts_off_has_the_id_of_the_event(memories: Memories) -> None:
    memories.server.late = True
    assert memories.of("alice").remember("likes tea")
    assert memories.events == []


def test_all_goes_through_every_page(memories: Memories) -> None:
    for number in range(450):
        memories.server.put("alice", f"fact {number}")
    assert len(memories.store("alice").list(10_000)) == 450


def test_no_more_pages_are_asked_for_than_wanted(memories: Memories) -> None:
    for number in range(450):
        memories.server.put("alice", f"fact {number}")
    assert len(memories.store("alice").list(150)) == 150
    assert len(memories.server.requests) == 1


@pytest.mark.parametrize(
    ("failure", "error"), [(401, AuthenticationError), (429, RateLimitError), (500, Mem0Error), (503, NetworkError)]
)
def test_an_error_of_mem0_is_raised(memories: Memories, failure: int, error: type[Exception]) -> None:
    memories.server.failure = failure
    with pytest.raises(error):
        memories.store("alice").search("tea", 5)


def test_a_broken_answer_is_no_end_of_a_run(memories: Memories) -> None:
    memories.server.broken = True
    assert memories.of("alice").recall("tea") == []
    assert memories.events == ["memory.failed"]


def test_mem0_is_not_waited_for_beyond_the_timeout(memories: Memories, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mem0_cloud, "RUN_SECONDS", 0.2)
    memories.server.delay = 3
    start = time.monotonic()
    with pytest.raises(NetworkError, match="timed out"):
        memories.store("alice").search("tea", 5)
    assert time.monotonic() - start < 2


def test_opening_asks_nothing_of_mem0(memories: Memories) -> None:
    memories.store("alice")
    assert memories.server.requests == []


def test_nothing_but_mem0s_server_is_called(memories: Memories, tmp_path: Path) -> None:
    program = f"""
import atexit, sys

called = set()
atexit.register(lambda: print(sorted(called)))  # the first to register is the last: Mem0 has sent what it has left
sys.addaudithook(lambda name, data: called.add(data[0]) if name == "socket.getaddrinfo" else None)

from crewyard_runtime.memory import mem0_cloud
from crewyard_runtime.settings import RuntimeSettings

settings = RuntimeSettings(memory="mem0-cloud", mem0_url={memories.server.url!r}, mem0_api_key={KEY!r})
store = mem0_cloud.open_store(settings, "alice", None, None)
store.delete(store.add("likes tea"))
store.search("tea", 1), store.list(1), store.erase(), store.close()
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={**os.environ, "MEM0_DIR": str(tmp_path), "MEM0_TELEMETRY": "True", "MEM0_TELEMETRY_SAMPLE_RATE": "1"},
    )
    assert done.stdout.strip() == "['127.0.0.1']"


def test_a_good_key_is_no_problem(memories: Memories) -> None:
    assert mem0_cloud.problems(memories.settings) == []


def test_a_wrong_key_is_a_problem(memories: Memories) -> None:
    [problem] = mem0_cloud.problems(settings(memories.server.url, "m0-wrong"))
    assert "MEM0_API_KEY" in problem


def test_a_server_that_fails_is_an_error(memories: Memories) -> None:
    memories.server.failure = 503
    with pytest.raises(httpx.HTTPStatusError):
        mem0_cloud.problems(memories.settings)


def test_prune_deletes_what_is_older_of_every_user(memories: Memories) -> None:
    for number in range(250):
        memories.server.put("alice" if number % 2 else "bob", "old", 31, KEPT_BY)
    young = memories.server.put("alice", "young", 29, KEPT_BY)
    assert mem0_cloud.prune(memories.settings, None, 30) == 250
    assert set(memories.server.memories) == {young}


def test_prune_leaves_what_others_keep_in_the_same_project(memories: Memories) -> None:
    theirs = {memories.server.put("alice", "old", 31), memories.server.put("alice", "old", 31, {"kept_by": "them"})}
    assert mem0_cloud.prune(memories.settings, None, 30) == 0
    assert set(memories.server.memories) == theirs


def test_prune_knows_what_a_run_remembered(memories: Memories) -> None:
    memories.of("alice").remember("likes tea")
    [kept] = memories.server.memories.values()
    kept["created_at"] = "2020-01-01T00:00:00+00:00"
    assert mem0_cloud.prune(memories.settings, None, 30) == 1


def test_when_mem0_gives_everything_prune_still_deletes_the_old_alone(memories: Memories) -> None:
    memories.server.put("alice", "old", 31, KEPT_BY)
    young = memories.server.put("alice", "young", 29, KEPT_BY)
    memories.server.leaking = True
    assert mem0_cloud.prune(memories.settings, None, 30) == 1
    assert set(memories.server.memories) == {young}


def test_mem0_does_not_reindex(memories: Memories) -> None:
    with pytest.raises(NotPossible, match="by itself"):
        mem0_cloud.reindex(memories.settings, None, Embedder())
