"""The memory of one user: bound, bounded in time, and never the end of a run; whatever the store does."""

import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from crewyard_runtime import Application
from crewyard_runtime.execution import RunRequest
from crewyard_runtime.execution.work import make_run
from crewyard_runtime.frameworks import load_framework
from crewyard_runtime.memory.no_secrets import may_remember
from crewyard_runtime.memory.records import Record, Remembered
from crewyard_runtime.memory.user_memory import UserMemory
from crewyard_runtime.settings import RuntimeSettings
from pydantic import RootModel


class Shelf:
    """A store that keeps everything for everybody, and gives all of it to whoever asks: no lock of its own."""

    def __init__(self) -> None:
        self.records: dict[str, Record] = {}
        self.user_id = ""
        self.fault: Callable[[], None] = lambda: None

    def add(self, text: str) -> str:
        self.fault()
        at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=len(self.records))
        id = str(uuid.uuid4())
        self.records[id] = Record(self.user_id, Remembered(id, text, at))
        return id

    def search(self, query: str, limit: int) -> list[Record]:
        self.fault()
        return list(self.records.values())

    def list(self, limit: int) -> list[Record]:
        self.fault()
        return list(self.records.values())[::-1]

    def get(self, id: str) -> Record | None:
        self.fault()
        return self.records.get(id)

    def delete(self, id: str) -> None:
        self.fault()
        del self.records[id]

    def erase(self) -> dict[str, int]:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError


class Users:
    """Several users' memories on one shelf, and what they reported."""

    def __init__(self) -> None:
        self.shelf = Shelf()
        self.events: list[tuple[str, dict[str, Any]]] = []

    def memory(self, user_id: str, **options: Any) -> UserMemory:
        """One user's; what is added from now on is theirs."""
        self.shelf.user_id = user_id
        return UserMemory(user_id, lambda: self.shelf, lambda kind, data: self.events.append((kind, data)), **options)


@pytest.fixture
def users() -> Users:
    """Nobody yet."""
    return Users()


def test_each_sees_their_own_in_a_store_without_a_lock(users: Users) -> None:
    alice = users.memory("alice")
    mine = alice.remember("the capital of my country is Oslo")
    bob = users.memory("bob")
    theirs = bob.remember("my cat is called Ada")
    assert mine
    assert theirs
    assert [str(each) for each in alice.all()] == ["the capital of my country is Oslo"]
    assert [str(each) for each in bob.recall("cat")] == ["my cat is called Ada"]
    assert not alice.forget(theirs)
    assert len(bob.all()) == 1
    assert alice.forget(mine)
    assert not alice.forget(mine)
    assert alice.all() == []
    assert {kind for kind, _ in users.events} == {"memory.foreign"}


@pytest.mark.parametrize("user_id", ["", "*", "a*", "%", "a b", "a\n", "ä", "x" * 129, None, ["alice"], {"ne": ""}])
def test_no_memory_is_made_for_an_unsafe_id(users: Users, user_id: Any) -> None:
    with pytest.raises(ValueError, match="is not 1 to 128 letters"):
        users.memory(user_id)


def test_the_user_of_a_memory_cannot_be_changed_by_name(users: Users) -> None:
    alice = users.memory("alice")
    for name in ("user_id", "_user_id", "__user_id"):
        setattr(alice, name, "bob")
    alice.remember("x")
    users.shelf.user_id = "bob"
    users.shelf.add("y")
    assert [str(each) for each in alice.all()] == ["x"]


@pytest.mark.parametrize("id", ["", "*", "x", "1 OR 1=1", None, 7, {"ne": ""}, "a" * 10_000])
def test_an_id_that_is_none_forgets_nothing(users: Users, id: Any) -> None:
    alice = users.memory("alice")
    alice.remember("x")
    assert alice.forget(id) is False
    assert len(alice.all()) == 1


@pytest.mark.parametrize("given", [None, 7, b"x", ["x"], {"user_id": "*"}])
def test_what_is_no_text_is_told(users: Users, given: Any) -> None:
    for call in (users.memory("alice").remember, users.memory("alice").recall):
        with pytest.raises(TypeError, match="takes text, and got"):
            call(given)


def test_text_is_kept_as_stores_can(users: Users) -> None:
    alice = users.memory("alice")
    for given in ("a\0b", "half \ud83d", " x ", "y" * 9_000, "", " \n"):
        alice.remember(given)
    assert [len(str(each)) for each in alice.all()] == [2, 6, 1, 8_000]


@pytest.mark.parametrize("limit", [-1, 0, 1, 3, 10**9])
def test_no_more_is_recalled_than_asked_for(users: Users, limit: int) -> None:
    alice = users.memory("alice")
    for number in range(150):
        alice.remember(f"fact {number}")
    assert len(alice.recall("fact", limit)) == max(min(limit, 100), 0)


def fail() -> None:
    """What a store does that is down."""
    raise ConnectionError("connection refused")


def leave() -> None:
    """What no library should do."""
    raise SystemExit(3)


def test_a_store_that_fails_ends_no_run_and_is_seen(users: Users) -> None:
    alice = users.memory("alice")
    kept = alice.remember("x")
    assert kept
    users.shelf.fault = fail
    assert alice.remember("y") is None
    assert alice.recall("x") == []
    assert alice.all() == []
    assert alice.forget(kept) is False
    assert [(kind, data["operation"]) for kind, data in users.events] == [
        ("memory.failed", operation) for operation in ("remember", "recall", "list", "forget")
    ]
    assert "ConnectionError: connection refused" in users.events[0][1]["reason"]
    assert alice.failures == 4


def test_a_store_that_leaves_ends_no_run(users: Users) -> None:
    alice = users.memory("alice")
    users.shelf.fault = leave
    assert alice.recall("x") == []
    assert users.events[0][0] == "memory.failed"


def test_a_late_recall_is_given_up_in_time(users: Users) -> None:
    alice = users.memory("alice", recall_seconds=0.2)
    users.shelf.fault = lambda: time.sleep(3)
    began = time.monotonic()
    assert alice.recall("x") == []
    assert time.monotonic() - began < 1
    assert users.events == [("memory.late", {"operation": "recall", "reason": "no answer within 0.2 seconds"})]


SECRETS = [
    "my key is sk-proj-abcdefghijklmnop1234",
    "use ghp_abcdefghijklmnop1234567890 for it",
    "AKIAIOSFODNN7EXAMPLE",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl",
    "-----BEGIN RSA PRIVATE KEY-----",
    "postgresql://crew:hunter22@db/crew",
    "password: hunter22",
    "the api_key = 0123456789",
    "my password is correcthorse",
    "cy_0a1b2c3d4e5f_abcdefghijklmnopqrstuvwxyz",
    "DATABASE_PASSWORD = s3cr3tvalue",
    "client_secret=GOCSPX-abcdef123456",
    "MY_API_KEY: abcdef123",
    "aws_secret_access_key=wJalrXUtnFEMI/K7MDENG",
    "PGPASSWORD=hunter22",
    'my password is "x!9a"',
    "Pwd=abc123",
    "pw: hunter2",
    "my passphrase is correct4horse",
    "Authorization: Bearer 0123456789abcdef0123",
    "npm_a1b2c3d4e5f6g7h8i9j0k1",
    "hf_abcdefGHIJ1234567890",
    "SG.abcDEF123456.ghijkl7890123456",
    "dop_v1_0123456789abcdef0123",
    "ya29.a0AfH6SMBx1234567890",
    "pypi-AgEIcHlwaS5vcmc1234567",
    "m0-abcdefgh12345678",
    "AccountKey=abcdef123456==",
    "https://hooks.slack.com/services/T00/B00/XXXX",
    "api-key -> abcdef12",
    "password: hunter2",
    "the token is abc123xyz",
    "postgres://u:p4ss@host/db",
    "sk-proj-abcdefgh12345678ijkl",
    "AKIAIOSFODNN7EXAMPLE",
    "-----BEGIN RSA PRIVATE KEY-----",
]
HARMLESS = [
    "I forgot my password last week",
    "the token ring network is down",
    "please keep it a secret",
    "my notes are at https://example.com/notes",
    "prefers short answers",
    "sk-8 shoes",
    "order cy-2024",
    "the password is rejected since Tuesday",
    "The password is forgotten again",
    "why her password is expiring",
    "whether the token is refundable",
    "The token is invalid",
    "api key is missing",
    "the pass is between Oslo and Bergen",
    "ski pass is expired",
    "Her secret is baking bread",
    "rk-3588-development-board-v2",
    "cy-press-e2e-tests-for-login",
    "sk_learn_preprocessing_pipeline",
    "He prefers answers in French",
    "Wrote about billing: invoice 2024-05 is missing",
    "the key question is price",
    "task-force-2024-report-final",
    "risk-based-pricing-model-2025-v2",
]


@pytest.mark.parametrize("text", SECRETS)
def test_keys_and_tokens_are_not_remembered(users: Users, text: str) -> None:
    assert users.memory("alice").remember(text) is None
    assert users.shelf.records == {}
    assert users.events[0][0] == "memory.refused"
    assert text not in str(users.events)


@pytest.mark.parametrize("text", HARMLESS)
def test_what_only_speaks_of_secrets_is_remembered(text: str) -> None:
    assert may_remember(text)


def test_a_team_decides_what_may_be_remembered(users: Users) -> None:
    alice = users.memory("alice", may_remember=lambda text: "diagnosis" not in text)
    assert alice.remember("the diagnosis is private") is None
    assert alice.remember("likes tea")


def test_a_hook_that_fails_keeps_nothing(users: Users) -> None:
    def broken(text: str) -> bool:
        raise RuntimeError("the classifier is down")

    assert users.memory("alice", may_remember=broken).remember("x") is None
    assert users.shelf.records == {}
    assert users.events[0][0] == "memory.failed"


def keeps_no_numbers(text: str) -> bool:
    """What a team may say in place of the filter."""
    return not any(letter.isdigit() for letter in text)


def test_an_application_says_what_may_be_remembered(settings: RuntimeSettings, tmp_path: Path) -> None:
    application = Application(
        name="careful",
        input=RootModel[str],
        output=RootModel[str],
        build="runtime.crews:build",
        may_remember="runtime.test_user_memory:keeps_no_numbers",
    )
    elsewhere = settings.model_copy(update={"memory": "qdrant", "qdrant_url": "http://127.0.0.1:1"})
    request = RunRequest(run_id="r", user_id="ada", input="x", settings={}, runtime={}, workspace=str(tmp_path))
    events: list[tuple[str, dict[str, Any]]] = []
    run = make_run(application, request, elsewhere, load_framework("plain"), lambda *event: events.append(event))
    assert run.memory.remember("the code is 1234") is None
    assert [kind for kind, _ in events] == ["memory.refused"]


@pytest.mark.parametrize("path", ["", "module", ":function", "module:"])
def test_a_filter_that_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="may_remember"):
        Application(name="x", input=RootModel[str], output=RootModel[str], build="a:b", may_remember=path)
