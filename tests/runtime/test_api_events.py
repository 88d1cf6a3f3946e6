"""Event streams: resumed where they broke off, alive over a restart of Postgres, ended with the run or the gateway."""

import json
import signal
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from crewyard_runtime.api import event_stream
from crewyard_runtime.execution import Outcome
from crewyard_runtime.settings import ServiceSettings
from crewyard_runtime.store import Database, events, runs
from crewyard_runtime.testing.servers import Postgres
from crewyard_runtime.testing.service import new_database
from pydantic import SecretStr
from runtime.gateways import APPLICATIONS, Gateway, Wakes, in_thread, make_key, until
from sqlalchemy import text


@pytest.fixture(scope="module")
def gateway(postgres: Postgres, empty_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with Gateway(tmp_path_factory.mktemp("gateway"), new_database(postgres.url, empty_database)) as made:
        yield made


@pytest.fixture
def user(gateway: Gateway) -> Iterator[httpx.Client]:
    with gateway.client() as client:
        yield client


class Run:
    """A run that the test does, as a worker would."""

    def __init__(self, user: httpx.Client, database_url: str) -> None:
        self.id = UUID(user.post("/runs/mail", json={"text": "hello"}).json()["id"])
        self.path = f"/runs/{self.id}"
        self._database = Database(database_url, 1)
        with self._database.transaction() as tx:
            while (
                claim := runs.claim(tx, "worker-1", APPLICATIONS, 60, 1_000_000)
            ) is not None and claim.id != self.id:
                runs.finish(tx, claim, Outcome(run_id=str(claim.id), status="succeeded"))
        assert claim is not None
        self.claim = claim

    def _claim(self) -> runs.Claim:
        with self._database.transaction() as tx:
            claim = runs.claim(tx, "worker-1", APPLICATIONS, 60, 1_000_000)
        assert claim is not None
        return claim

    def tell(self, *kinds: str, **data: Any) -> None:
        """Add events."""
        with self._database.transaction() as tx:
            assert events.append_if_held(tx, self.id, self.claim.attempt, [(kind, data) for kind in kinds])

    def end(self) -> None:
        """Succeed."""
        with self._database.transaction() as tx:
            assert runs.finish(tx, self.claim, Outcome(run_id=str(self.id), status="succeeded"))


@contextmanager
def following(user: httpx.Client, path: str, last: int | None = None) -> Iterator[Iterator[dict[str, str]]]:
    """The events of a run, as a client gets them: the fields of each; a comment is an event with a field "comment"."""
    headers = {} if last is None else {"Last-Event-ID": str(last)}
    with user.stream("GET", f"{path}/events", headers=headers, timeout=30) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["cache-control"] == "no-cache"
        yield _events(response)


def _events(response: httpx.Response) -> Iterator[dict[str, str]]:
    fields: dict[str, str] = {}
    for line in response.iter_lines():
        if line:
            name, _, value = line.partition(": ")
            fields[name or "comment"] = value
        else:
            yield fields
            fields = {}


def test_what_happened_is_told_and_then_what_happens(gateway: Gateway, user: httpx.Client) -> None:
    run = Run(user, gateway.database_url)
    with following(user, run.path) as stream:
        assert [next(stream)["event"] for _ in range(2)] == ["run.queued", "attempt.started"]
        run.tell("tool.called", "two\nlines\r", tool="search", half="\ud800", nothing="\0")
        told = next(stream)
        assert (told["id"], told["event"]) == ("3", "tool.called")
        event = json.loads(told["data"])
        assert (event["number"], event["attempt"], event["kind"]) == (3, 1, "tool.called")
        assert event["data"] == {"tool": "search", "half": "\ud800", "nothing": "\0"}
        assert event["at"]
        assert next(stream)["event"] == "two lines"
        run.end()
        assert [each["event"] for each in stream] == ["run.ended"]


def test_news_arrives_at_once(gateway: Gateway, user: httpx.Client) -> None:
    run = Run(user, gateway.database_url)
    with following(user, run.path, 2) as stream:
        waits = []
        for number in range(5):
            told_at = time.monotonic()
            run.tell(f"step.{number}")
            assert next(stream)["event"] == f"step.{number}"
            waits.append(time.monotonic() - told_at)
    # Well below the seconds after which a follower looks by itself.
    assert min(waits) < 0.5


def test_a_stream_is_resumed_after_the_last_event(gateway: Gateway, user: httpx.Client) -> None:
    run = Run(user, gateway.database_url)
    run.tell(*(f"step.{number}" for number in range(3)))
    with following(user, run.path) as stream:
        last = [next(stream) for _ in range(3)][-1]
    run.end()
    with following(user, run.path, int(last["id"])) as stream:
        assert [each["event"] for each in stream] == ["step.1", "step.2", "run.ended"]


def test_more_events_than_one_page_are_all_told(gateway: Gateway, user: httpx.Client) -> None:
    run = Run(user, gateway.database_url)
    run.tell(*["step"] * 1_100)
    run.end()
    with following(user, run.path) as stream:
        assert [int(each["id"]) for each in stream] == list(range(1, 1_104))


@pytest.mark.parametrize("last", [3, 4, 2**31])
def test_the_stream_of_an_ended_run_ends(gateway: Gateway, user: httpx.Client, last: int) -> None:
    run = Run(user, gateway.database_url)
    run.end()
    with following(user, run.path, last) as stream:
        assert list(stream) == []


def test_the_stream_of_a_run_that_is_done_again_goes_on(gateway: Gateway, user: httpx.Client) -> None:
    run_id = user.post("/runs/mail", json={"text": "a"}).json()["id"]
    user.post(f"/runs/{run_id}/cancel")
    user.post(f"/runs/{run_id}/retry")
    with following(user, f"/runs/{run_id}") as stream:
        told = [next(stream) for _ in range(3)]
        assert [each["event"] for each in told] == ["run.queued", "run.ended", "run.queued"]
        assert json.loads(told[1]["data"])["data"] == {"status": "cancelled"}
        user.post(f"/runs/{run_id}/cancel")
        assert [each["event"] for each in stream] == ["run.ended"]


def test_many_follow_one_run_and_one_connection_listens(gateway: Gateway, user: httpx.Client) -> None:
    run = Run(user, gateway.database_url)
    streams = [following(user, run.path, 2) for _ in range(12)]
    opened = [stream.__enter__() for stream in streams]
    run.tell("step")
    assert {next(stream)["event"] for stream in opened} == {"step"}
    database = Database(gateway.database_url, 1)
    with database.transaction() as tx:
        listening = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'"
        assert tx.execute(text(listening)).scalar() == 1
    run.end()
    assert [[each["event"] for each in stream] for stream in opened] == [["run.ended"]] * 12
    for stream in streams:
        stream.__exit__(None, None, None)


@pytest.mark.parametrize("last", ["x", "-1", "1.5", "1" * 11, "٣"])
def test_a_number_that_is_none_is_refused(user: httpx.Client, last: str) -> None:
    run_id = user.post("/runs/mail", json={"text": "a"}).json()["id"]
    assert user.get(f"/runs/{run_id}/events", headers={b"Last-Event-ID": last.encode()}).status_code == 422


def test_a_stream_of_nothing_is_not_found(user: httpx.Client) -> None:
    assert user.get(f"/runs/{uuid.uuid4()}/events").status_code == 404


def test_a_stream_outlives_a_restart_of_postgres(gateway: Gateway, user: httpx.Client, postgres: Postgres) -> None:
    run = Run(user, gateway.database_url)
    with following(user, run.path, 2) as stream:
        run.tell("before")
        assert next(stream)["event"] == "before"
        postgres.restart()
        until("news after the restart", lambda: _told(run, "after"))
        assert next(stream)["event"] == "after"
        run.end()
        assert next(stream)["event"] == "run.ended"


def _told(run: Run, kind: str) -> bool:
    from sqlalchemy.exc import OperationalError

    try:
        run.tell(kind)
    except OperationalError:
        return False
    return True


@pytest.mark.parametrize(("workers", "sent"), [(1, signal.SIGTERM), (4, signal.SIGTERM), (1, signal.SIGINT)])
def test_a_gateway_that_has_to_stop_ends_its_streams(
    postgres: Postgres, empty_database: str, tmp_path: Path, workers: int, sent: signal.Signals
) -> None:
    with (
        Gateway(tmp_path, new_database(postgres.url, empty_database), workers=workers) as gateway,
        gateway.client() as user,
    ):
        run_id = user.post("/runs/mail", json={"text": "a"}).json()["id"]
        streams = [following(user, f"/runs/{run_id}") for _ in range(8)]
        opened = [stream.__enter__() for stream in streams]
        assert {next(stream)["event"] for stream in opened} == {"run.queued"}
        started = time.monotonic()
        gateway.process.send_signal(sent)
        assert [list(stream) for stream in opened] == [[]] * 8
        assert time.monotonic() - started < 2
        for stream in streams:
            stream.__exit__(None, None, None)
        assert gateway.process.wait(5) == 0
        assert time.monotonic() - started < 4
        complaints = {line["logger"] for line in gateway.lines() if line["level"] in ("WARNING", "ERROR")}
        assert complaints <= {"crewyard.jobs"}  # which has no broker here


def test_a_quiet_stream_is_kept_open(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(event_stream, "PING_SECONDS", 0.1)
    settings = ServiceSettings(database_url=SecretStr(gateway.database_url))
    key = {"Authorization": f"Bearer {make_key(gateway.database_url)}"}
    with in_thread(settings, Wakes()) as url, httpx.Client(base_url=url, headers=key, trust_env=False) as user:
        run_id = user.post("/runs/mail", json={"text": "a"}).json()["id"]
        with following(user, f"/runs/{run_id}", 1) as stream:
            assert [next(stream) for _ in range(3)] == [{"comment": "ping"}] * 3
            user.post(f"/runs/{run_id}/cancel")
            assert [each["event"] for each in stream if "event" in each] == ["run.ended"]
