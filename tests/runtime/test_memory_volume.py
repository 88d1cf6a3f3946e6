"""The memory in a directory, by CrewAI's store: two users, the file lock of its worker, and embedding anew."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from crewyard_runtime.frameworks import crewai_volume as volume
from crewyard_runtime.frameworks.crewai_volume import InUse, VolumeStore, only_worker, problems, prune, reindex
from crewyard_runtime.memory.backends import BACKENDS
from crewyard_runtime.memory.embeddings import NoEmbedding
from crewyard_runtime.memory.user_memory import UserMemory
from crewyard_runtime.settings import RuntimeSettings
from crewyard_runtime.testing.replies import embeddings

DIMENSIONS, OTHER_DIMENSIONS = 64, 96
WITHOUT = "lancedb is not installed: the memory in a directory needs it, and exclude-dependencies leaves it out"
WAIT_SECONDS = 120
# Ids that begin another's, and what a pattern, a path or a query would take for more than itself.
ALIKE = ["ab", "abc", "ab.c", "ab-c", "a_b", "axb", "a-b", "AB", "own", "user", ".", "..", "key_0", "for:ab@x"]
TESTS = Path(__file__).parent.parent


class Embedder:
    """The model server's embeddings, without its server. left: texts until it fails as a server may."""

    def __init__(self, dimensions: int = DIMENSIONS, left: int = 1_000_000) -> None:
        self.dimensions, self.left = dimensions, left

    def embed(self, text: str) -> list[float]:
        """The embedding of one text."""
        return self.embed_many([text])[0]

    def embed_many(self, texts: list[str]) -> list[list[float]]:
        """The embeddings of some texts; ConnectionError if they are more than are left."""
        self.left -= len(texts)
        if self.left < 0:
            raise ConnectionError
        asked = {"model": "text-embedding-3-small", "input": texts, "dimensions": self.dimensions}
        reply: Any = embeddings(asked)
        return [each["embedding"] for each in reply["data"]]


class KilledEmbedder(Embedder):
    """Ends its process at once where the other fails."""

    def embed_many(self, texts: list[str]) -> list[list[float]]:
        """The embeddings of some texts, or death."""
        with contextlib.suppress(ConnectionError):
            return super().embed_many(texts)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError


class Memories:
    """The memories of several users in one directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.events: list[str] = []

    def settings(self, dimensions: int = DIMENSIONS) -> RuntimeSettings:
        """Of a project that keeps its memory here."""
        return RuntimeSettings(
            memory="volume", memory_dir=self.directory, embedding_dimensions=dimensions, writable_dir=self.directory
        )

    def store(self, user_id: str, dimensions: int = DIMENSIONS) -> VolumeStore:
        """One user's store, as a run has it."""
        return VolumeStore(user_id, self.directory, Embedder(dimensions), dimensions)

    def of(self, user_id: str) -> UserMemory:
        """One user's memory; its recall may take its time here."""
        return UserMemory(
            user_id, lambda: self.store(user_id), lambda kind, data: self.events.append(kind), recall_seconds=30
        )


def texts(store: VolumeStore) -> list[str]:
    """All that is known, in the order of the alphabet."""
    return sorted(str(each.remembered) for each in store.list(1_000))


@pytest.fixture
def memories(tmp_path: Path) -> Memories:
    """A directory in which nobody remembers anything yet."""
    pytest.importorskip("lancedb", reason=WITHOUT)
    for module in BACKENDS["volume"][1]:  # as the fork server does: a first call must not wait for imports too
        import_module(module)
    return Memories(tmp_path)


def test_what_is_remembered_is_recalled_the_most_alike_first(memories: Memories) -> None:
    alice = memories.of("alice")
    for fact in ("prefers answers in French", "has the plan Team since 2024", "lives in Oslo"):
        assert alice.remember(fact)
    found = alice.recall("Which plan does she have?", limit=2)
    assert str(found[0]) == "has the plan Team since 2024"
    assert len(found) == 2
    [exact] = alice.recall("lives in Oslo", limit=1)
    assert exact.score == pytest.approx(1, abs=1e-5)
    assert [str(each) for each in alice.all()] == [
        "prefers answers in French",
        "has the plan Team since 2024",
        "lives in Oslo",
    ]
    assert memories.events == []


def test_users_do_not_see_each_other(memories: Memories) -> None:
    alice, bob = memories.of("alice"), memories.of("bob")
    kept, _ = bob.remember("bob's code word is heron"), alice.remember("alice likes tea")
    assert kept
    assert [str(each) for each in alice.recall("code word heron", limit=100)] == ["alice likes tea"]
    assert not alice.forget(kept)
    assert bob.forget(kept)
    assert bob.all() == []
    assert memories.events == []


def test_ids_that_are_alike_are_different_users(memories: Memories) -> None:
    stores = {user: memories.store(user) for user in ALIKE}
    for user, store in stores.items():
        store.add(f"canary of {user}")
    for user, store in stores.items():
        own = [(user, f"canary of {user}")]
        assert [(each.user_id, str(each.remembered)) for each in store.search("canary of ab", 100)] == own
        assert [(each.user_id, str(each.remembered)) for each in store.list(100)] == own
    for user in ALIKE:
        assert stores[user].erase() == {"memories": 1}
        assert all(len(stores[other].list(100)) == (ALIKE.index(other) > ALIKE.index(user)) for other in ALIKE)


@pytest.mark.parametrize("user_id", ["a%b", "a/b", "alice/own", "*", "", "a'b", "a\\b", "a b"])
def test_what_could_be_more_than_an_id_is_refused(tmp_path: Path, user_id: str) -> None:
    with pytest.raises(ValueError, match="user id"):
        VolumeStore(user_id, tmp_path, Embedder(), DIMENSIONS)


@pytest.mark.parametrize("scope", ["/", "", "/user", "/user/", "/user/bob/own", "%", "/user/%"])
def test_without_the_scope_nothing_leaks(memories: Memories, scope: str) -> None:
    kept, _ = memories.of("bob").remember("bob's code word is heron"), memories.of("alice").remember("alice likes tea")
    store = memories.store("alice")
    store._scope = scope
    alice = UserMemory("alice", lambda: store, lambda kind, data: memories.events.append(kind), recall_seconds=30)
    seen = {str(each) for each in (*alice.recall("code word heron", 10), *alice.all())}
    assert seen <= {"alice likes tea"}
    assert kept is not None
    assert not alice.forget(kept)
    assert set(memories.events) == (set() if "%" in scope else {"memory.foreign"})  # "%" is itself, and nobody's


@pytest.mark.parametrize(
    "text", ["it's; DROP TABLE memories --", "100 % _ \\ \" ' ` {} [] * \n\t", "猫 🐈 ñ", "x" * 8_000]
)
def test_any_text_comes_back_as_it_was(memories: Memories, text: str) -> None:
    alice = memories.store("alice")
    id = alice.add(text)
    record = alice.get(id)
    assert record is not None
    assert (record.user_id, str(record.remembered)) == ("alice", text)
    assert alice.get("' OR '1'='1") is None
    alice.delete("' OR '1'='1")
    assert texts(alice) == [text]


def test_one_who_remembers_little_is_found_among_many(memories: Memories) -> None:
    memories.store("ab").add("likes tea")
    for number in range(30):
        memories.store("abc").add(f"likes tea very much {number}")
    assert [str(each.remembered) for each in memories.store("ab").search("likes tea very much", 5)] == ["likes tea"]
    assert len(memories.store("abc").search("tea", 100)) == 30


OTHER_RUN = """
import tempfile
tempfile.tempdir = {elsewhere!r}
store = VolumeStore("alice", Path({directory!r}), Embedder(), {dimensions})
print(texts(store), flush=True)
for number in range(5):
    store.add(f"there {{number}}")
"""


def test_another_process_reads_it_and_both_write_at_once(memories: Memories, tmp_path_factory: Any) -> None:
    alice = memories.store("alice")
    alice.add("likes tea")
    # CrewAI's own lock is in the directory for temporary files, and each run has its own.
    elsewhere = str(tmp_path_factory.mktemp("elsewhere"))
    code = OTHER_RUN.format(directory=str(memories.directory), elsewhere=elsewhere, dimensions=DIMENSIONS)
    with started(code) as other:
        assert other.stdout
        assert other.stdout.readline() == "['likes tea']\n"
        for number in range(5):
            alice.add(f"here {number}")
        _, failed = other.communicate(timeout=WAIT_SECONDS)
        assert other.returncode == 0, failed
    assert texts(alice) == [*(f"here {n}" for n in range(5)), "likes tea", *(f"there {n}" for n in range(5))]


def test_what_another_erased_is_gone_at_once(memories: Memories) -> None:
    running, erasing = memories.store("alice"), memories.store("alice")
    running.add("likes tea")
    assert len(running.list(10)) == 1
    assert erasing.erase() == {"memories": 1}
    assert running.list(10) == running.search("tea", 5) == []


def test_other_dimensions_are_told_with_what_to_do(memories: Memories) -> None:
    assert problems(memories.settings()) == []
    memories.store("alice").add("likes tea")
    assert problems(memories.settings()) == []
    [problem] = problems(memories.settings(OTHER_DIMENSIONS))
    assert "holds embeddings of 64 dimensions, and the model gives 96" in problem
    assert "`memory reindex`" in problem
    other = memories.store("alice", OTHER_DIMENSIONS)
    for call in (lambda: other.add("lives in Oslo"), lambda: other.search("tea", 5)):
        with pytest.raises(NoEmbedding, match="memory reindex"):
            call()
    assert texts(other) == ["likes tea"]


def test_a_directory_that_does_not_fit_is_told(memories: Memories, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anywhere
    [problem] = problems(memories.settings())
    assert "is not writable" in problem
    memories.directory = memories.directory / "nowhere"
    [problem] = problems(memories.settings())
    assert "There is no directory" in problem
    assert not memories.directory.exists()


def test_what_is_not_installed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(volume, "EXCLUDED", ("lancedb_of_nobody", "pyarrow_of_nobody"))
    [problem] = problems(Memories(tmp_path).settings())
    assert 'delete "lancedb_of_nobody", and "pyarrow_of_nobody", from exclude-dependencies' in problem


def test_the_old_is_pruned(memories: Memories) -> None:
    assert prune(memories.settings(), None, 30) == 0
    for user in ("ab", "abc"):
        memories.store(user).add("new")
    old_one(memories, "ab", days=31)
    old_one(memories, "abc", days=29)
    assert prune(memories.settings(), None, 30) == 1
    assert texts(memories.store("ab")) == ["new"]
    assert texts(memories.store("abc")) == ["new", "of 29 days ago"]
    assert prune(memories.settings(), None, 30) == 0


def old_one(memories: Memories, user: str, days: int) -> None:
    """Keep something that was remembered long ago."""
    from crewai.memory.types import MemoryRecord

    store, at = memories.store(user), datetime.now(UTC) - timedelta(days=days)
    text = f"of {days} days ago"
    vector = Embedder().embed(text)
    store._rows.save([MemoryRecord(content=text, scope=store._scope, created_at=at, embedding=vector)])


@pytest.fixture
def five(memories: Memories, monkeypatch: pytest.MonkeyPatch) -> Memories:
    """Two users who know five things, embedded two at a time."""
    monkeypatch.setattr(volume, "BATCH", 2)
    for number in range(5):
        memories.store("ab" if number < 3 else "abc").add(f"fact {number}")
    return memories


def as_before(memories: Memories, dimensions: int) -> None:
    """Nothing is lost or mixed, and it is found."""
    ab, abc = (memories.store(user, dimensions) for user in ("ab", "abc"))
    assert texts(ab) == ["fact 0", "fact 1", "fact 2"]
    assert texts(abc) == ["fact 3", "fact 4"]
    assert [str(each.remembered) for each in ab.search("fact 1", 1)] == ["fact 1"]
    assert {each.user_id for each in (*ab.search("fact", 9), *ab.list(9))} == {"ab"}


@pytest.mark.parametrize("dimensions", [DIMENSIONS, OTHER_DIMENSIONS])
def test_all_is_embedded_anew(five: Memories, dimensions: int) -> None:
    when = {each.remembered.id: each.remembered.at for each in five.store("ab").list(9)}
    for _ in range(2):
        assert reindex(five.settings(dimensions), None, Embedder(dimensions)) == 5
        as_before(five, dimensions)
    assert {each.remembered.id: each.remembered.at for each in five.store("ab", dimensions).list(9)} == when
    assert problems(five.settings(dimensions)) == []


def test_an_empty_memory_is_embedded_anew(memories: Memories) -> None:
    assert reindex(memories.settings(), None, Embedder()) == 0
    memories.store("alice").delete(memories.store("alice").add("likes tea"))
    assert reindex(memories.settings(OTHER_DIMENSIONS), None, Embedder(OTHER_DIMENSIONS)) == 0
    memories.store("alice", OTHER_DIMENSIONS).add("likes tea")
    assert problems(memories.settings(OTHER_DIMENSIONS)) == []


def test_one_that_fails_goes_on_where_it_was(five: Memories) -> None:
    settings = five.settings(OTHER_DIMENSIONS)
    with pytest.raises(ConnectionError):
        reindex(settings, None, Embedder(OTHER_DIMENSIONS, left=2))
    as_before(five, DIMENSIONS)
    [problem] = problems(five.settings())
    assert "in part only" in problem
    assert reindex(settings, None, Embedder(OTHER_DIMENSIONS, left=3)) == 3
    as_before(five, OTHER_DIMENSIONS)
    assert problems(settings) == []


def test_one_that_is_killed_goes_on_where_it_was(five: Memories) -> None:
    settings = five.settings(OTHER_DIMENSIONS)
    done = run(
        f"volume.BATCH = 2\nreindex(Memories(Path({str(five.directory)!r})).settings({OTHER_DIMENSIONS}), None, "
        f"KilledEmbedder({OTHER_DIMENSIONS}, left=4))"
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    as_before(five, DIMENSIONS)
    assert reindex(settings, None, Embedder(OTHER_DIMENSIONS, left=1)) == 1
    as_before(five, OTHER_DIMENSIONS)


@pytest.mark.parametrize("where", ["_swap", "_drop_aside"])
def test_one_that_ends_around_the_swap_loses_nothing(
    five: Memories, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    settings, real = five.settings(OTHER_DIMENSIONS), getattr(volume, where)

    def end(*given: Any, **named: Any) -> None:
        if not named:
            raise KeyboardInterrupt
        real(*given, **named)

    with monkeypatch.context() as patch:
        patch.setattr(volume, where, end)
        with pytest.raises(KeyboardInterrupt):
            reindex(settings, None, Embedder(OTHER_DIMENSIONS))
    as_before(five, DIMENSIONS if where == "_swap" else OTHER_DIMENSIONS)
    assert reindex(settings, None, Embedder(OTHER_DIMENSIONS, left=0)) == 0
    as_before(five, OTHER_DIMENSIONS)


def test_vectors_of_another_model_are_not_gone_on_with(five: Memories) -> None:
    with pytest.raises(ConnectionError):
        reindex(five.settings(OTHER_DIMENSIONS), None, Embedder(OTHER_DIMENSIONS, left=2))
    another = five.settings(OTHER_DIMENSIONS).model_copy(update={"embedding_model": "openai/another"})
    assert reindex(another, None, Embedder(OTHER_DIMENSIONS)) == 5
    as_before(five, OTHER_DIMENSIONS)


def test_what_is_forgotten_between_stays_forgotten(five: Memories) -> None:
    settings = five.settings(OTHER_DIMENSIONS)
    with pytest.raises(ConnectionError):
        reindex(settings, None, Embedder(OTHER_DIMENSIONS, left=2))
    first = five.store("ab").search("fact 0", 1)[0].remembered.id
    five.store("ab").delete(first)
    reindex(settings, None, Embedder(OTHER_DIMENSIONS))
    assert texts(five.store("ab", OTHER_DIMENSIONS)) == ["fact 1", "fact 2"]


def test_an_erased_user_leaves_no_vectors_aside(five: Memories) -> None:
    with pytest.raises(ConnectionError):
        reindex(five.settings(OTHER_DIMENSIONS), None, Embedder(OTHER_DIMENSIONS, left=4))
    assert five.store("ab").erase() == {"memories": 3}
    assert problems(five.settings()) == []
    assert reindex(five.settings(OTHER_DIMENSIONS), None, Embedder(OTHER_DIMENSIONS)) == 2


def test_nothing_is_embedded_anew_under_a_worker(five: Memories) -> None:
    with only_worker(five.directory), pytest.raises(InUse):
        reindex(five.settings(), None, Embedder())


HOLD = """
with only_worker(Path({directory!r})):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextlib.contextmanager
def holder(directory: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another process that is the only worker, until it is told or killed."""
    with started(HOLD.format(directory=str(directory))) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        yield process


def test_a_directory_takes_one_worker(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        with pytest.raises(InUse, match=rf"another worker \(pid {process.pid}\).*choose pgvector for more"):
            hold(tmp_path)
        process.communicate(timeout=WAIT_SECONDS)  # which ends what it reads
        hold(tmp_path)
    hold(tmp_path)


def test_a_worker_that_is_killed_leaves_the_directory_to_the_next(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=WAIT_SECONDS)
        hold(tmp_path)


def test_a_worker_keeps_its_own_second_out_and_names_itself(tmp_path: Path) -> None:
    with only_worker(tmp_path), pytest.raises(InUse, match=rf"pid {os.getpid()}\)"):
        hold(tmp_path)
    with pytest.raises(ZeroDivisionError), only_worker(tmp_path):
        raise ZeroDivisionError
    hold(tmp_path)


def hold(directory: Path) -> None:
    """Be the only worker for a moment."""
    with only_worker(directory):
        pass


def test_importing_the_module_starts_no_thread() -> None:
    done = run("import threading\nprint(threading.active_count(), 'lancedb' in sys.modules, 'crewai' in sys.modules)")
    assert done.stdout == "1 False False\n", done.stderr


PREAMBLE = """
import sys
from pathlib import Path
from crewyard_runtime.frameworks import crewai_volume as volume
from crewyard_runtime.frameworks.crewai_volume import VolumeStore, only_worker, reindex
"""
FAKES = "from runtime.test_memory_volume import Embedder, KilledEmbedder, Memories, texts\n"


@contextlib.contextmanager
def started(code: str) -> Iterator["subprocess.Popen[str]"]:
    """A process of its own with this module's fakes, which does not outlive the test."""
    process = subprocess.Popen(
        [sys.executable, "-c", PREAMBLE + (FAKES if "Embedder" in code else "") + code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(TESTS), "CREWAI_DISABLE_TELEMETRY": "true"},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def run(code: str) -> "subprocess.CompletedProcess[str]":
    """The same, to its end."""
    with started(code) as process:
        said, failed = process.communicate(timeout=WAIT_SECONDS)
        return subprocess.CompletedProcess(process.args, process.returncode, said, failed)
