"""Workers beyond what a project's own scaling tests ask of them: logs, webhooks, deadlines, several faults at once."""

import json
import random
import signal
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import UUID, uuid4

import pytest
from crewyard_runtime.store import Database, events, intake
from crewyard_runtime.testing.servers import Broker, Postgres
from crewyard_runtime.testing.service import Service, freeze, thaw, until
from sqlalchemy import text
from standardwebhooks import Webhook

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class Target:
    """What takes webhooks. answers: the status codes of the next ones; then 204."""

    def __init__(self) -> None:
        self.received: list[tuple[dict[str, str], bytes]] = []
        self.answers: list[int] = []
        target = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                target.received.append(({name.lower(): value for name, value in self.headers.items()}, body))
                self.send_response(target.answers.pop(0) if target.answers else 204)
                self.send_header("location", "http://169.254.169.254/")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Nothing is printed."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/hook"
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()


@pytest.fixture
def target() -> Iterator[Target]:
    made = Target()
    yield made
    made.http.shutdown()
    made.http.server_close()


def submit(service: Service, webhook_url: str | None = None, request_id: str | None = None, **order: Any) -> UUID:
    """Queue a run as the gateway does."""
    new = intake.NewRun(uuid4(), "faulty", "a-user", order, 3, request_id, webhook_url)
    with service.database.transaction() as tx:
        intake.submit(tx, new)
    return new.id


def last_error(database: Database, run_id: UUID) -> str | None:
    """Why the webhook of a run was not taken."""
    with database.transaction() as tx:
        found = tx.execute(text("SELECT last_error FROM webhooks WHERE run_id = :id"), {"id": run_id}).scalar()
    return None if found is None else str(found)


def test_every_line_of_a_run_carries_its_ids(service: Service) -> None:
    worker = service.start_worker()
    run_id = submit(service, request_id="request-1", then="talk")
    run = service.until_ended([run_id])[run_id]
    assert run.status == "succeeded", run.error
    lines = [json.loads(line) for line in service.log(worker).splitlines()]
    said = {line["message"]: line for line in lines}
    for message in ("said by a library in a thread", "printed", "printed by a subprocess"):
        assert said[message]["run_id"] == str(run_id), message
        assert said[message]["request_id"] == "request-1", message
    of_the_run = [line for line in lines if "attempt" in line["message"] or "run.log" in line["message"]]
    assert len(of_the_run) == 3
    assert {(line["run_id"], line["request_id"]) for line in of_the_run} == {(str(run_id), "request-1")}


def test_an_event_that_no_database_takes_as_it_is_does_not_end_a_run(service: Service) -> None:
    service.start_worker()
    run_id = submit(service, then="talk")
    assert service.until_ended([run_id])[run_id].status == "succeeded"
    with service.database.transaction() as tx:
        talked = next(event for event in events.after(tx, run_id, 0) if event.kind == "talked")
    assert talked.data == {"number": None, "text": "\0"}


def test_a_webhook_is_signed_and_tried_again(make_service: Any, target: Target) -> None:
    service = make_service({"WEBHOOK_SECRET": SECRET, "WEBHOOK_INTERNAL_HOSTS": '["127.0.0.1"]'})
    target.answers = [500]
    service.start_worker()
    run_id = submit(service, target.url, text="hello")
    until("the second delivery", lambda: len(target.received) == 2)
    (first, body), (second, again) = target.received
    assert body == again
    assert first["webhook-id"] == second["webhook-id"]
    told = Webhook(SECRET).verify(body, first)
    assert (told["type"], told["data"]["id"]) == ("run.succeeded", str(run_id))
    assert told["data"]["output"]["text"] == "hello"
    until("the record of the delivery", lambda: last_error(service.database, run_id) is None)


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ("http://127.0.0.1:{port}/", "Blocked|Unsafe"),
        ("http://localhost:{port}/", "Blocked|Unsafe"),
        ("http://169.254.169.254/latest/meta-data/", "Blocked"),
        ("http://[::ffff:169.254.169.254]/", "Blocked"),
        ("http://0x7f000001/", "Blocked|Error"),
        ("ftp://example.org/", "Unsafe"),
        ("not a url", "Error|Unsafe"),
    ],
)
def test_a_webhook_reaches_no_internal_address(make_service: Any, target: Target, given: str, error: str) -> None:
    service = make_service({"WEBHOOK_SECRET": SECRET})
    service.start_worker()
    run_id = submit(service, given.format(port=target.http.server_address[1]))
    said = until("a try", lambda: last_error(service.database, run_id))
    assert any(part in said for part in error.split("|")), said
    assert not target.received


def test_a_webhook_follows_no_redirect(make_service: Any, target: Target) -> None:
    service = make_service({"WEBHOOK_SECRET": SECRET, "WEBHOOK_INTERNAL_HOSTS": '["127.0.0.1"]'})
    target.answers = [307]
    service.start_worker()
    run_id = submit(service, target.url)
    said = until("a try", lambda: last_error(service.database, run_id))
    assert "redirect" in said.lower() or "307" in said


def test_a_run_past_its_deadline_is_timed_out(make_service: Any) -> None:
    service = make_service({"LIMITS__DEADLINE_SECONDS": "1"})
    service.start_worker()
    run_id = submit(service, seconds=30)
    run = service.until_ended([run_id], seconds=15)[run_id]
    assert run.status == "timed_out"
    assert "deadline of 1 seconds" in run.error["reason"]
    assert len(service.attempts(run_id)) == 1


def test_a_run_that_fails_is_told_with_its_chain_and_not_tried_again(service: Service) -> None:
    service.start_worker()
    run_id = submit(service, then="fail")
    run = service.until_ended([run_id])[run_id]
    assert run.status == "failed"
    assert [link["type"] for link in run.error["chain"]] == ["RuntimeError"]
    assert len(service.attempts(run_id)) == 1


def test_a_worker_starts_before_its_servers(service: Service, postgres: Postgres, broker: Broker) -> None:
    run_id = submit(service, text="patient")
    postgres.stop()
    broker.stop()
    try:
        worker = service.start_worker(ready=False)
        until("the complaint about the database", lambda: "cannot be reached yet" in service.log(worker))
    finally:
        broker.start()
        postgres.start()
    assert service.until_ended([run_id])[run_id].status == "succeeded"


def test_a_worker_on_a_database_without_tables_says_what_to_do(service: Service) -> None:
    with service.database.transaction() as tx:
        tx.execute(text("DROP TABLE alembic_version"))
    worker = service.start_worker(ready=False)
    assert worker.wait(30) == 78
    assert "run the command `migrate`" in service.log(worker)


def test_a_second_interrupt_waits_no_longer(make_service: Any) -> None:
    service = make_service({"GRACE_SECONDS": "60"})
    worker = service.start_worker()
    run_id = submit(service, seconds=60)
    service.until_status(run_id, "running")
    worker.send_signal(signal.SIGINT)
    until("the end of the taking", lambda: "takes no more runs" in service.log(worker))
    worker.send_signal(signal.SIGINT)
    assert worker.wait(10) == 0
    assert service.run(run_id).status == "queued"


@pytest.mark.parametrize("seed", range(2))
def test_faults_at_random_lose_no_run(service: Service, postgres: Postgres, broker: Broker, seed: int) -> None:
    """Some seconds of everything at once: killed, frozen, stopped workers, both servers restarted and flushed."""
    chance = random.Random(seed)
    service.start_workers(3)
    ids = [submit(service, seconds=chance.choice([0, 0.2, 1])) for _ in range(25)]
    frozen = []
    for _ in range(6):
        alive = [each for each in service.processes if each.poll() is None and each not in frozen]
        fault = chance.choice(["kill", "freeze", "terminate", "database", "broker", "flush"])
        victim = chance.choice(alive)
        if fault == "kill":
            service.kill_only(victim)
        elif fault == "freeze":
            freeze(victim)
            frozen.append(victim)
        elif fault == "terminate":
            victim.terminate()
        elif fault == "database":
            postgres.restart()
        elif fault == "broker":
            broker.restart()
        else:
            broker.flush()
        if fault in ("kill", "freeze", "terminate"):
            service.start_worker(ready=False)
        ids.append(submit(service, text="meanwhile"))
        time.sleep(chance.uniform(0, 0.7))
    for each in frozen:
        thaw(each)
    ended = service.until_ended(ids, seconds=90)
    assert {run.status for run in ended.values()} <= {"succeeded", "dead"}
    with service.database.transaction() as tx:
        for run_id in ids:
            assert [event.kind for event in events.after(tx, run_id, 0)].count(events.ENDED) == 1
    dead = [run for run in ended.values() if run.status == "dead"]
    assert all(run.lost == 3 for run in dead)


def test_a_worker_that_has_to_stop_waits_for_no_database(service: Service, postgres: Postgres) -> None:
    worker = service.start_worker()
    run_id = submit(service, seconds=30)
    service.until_status(run_id, "running")
    postgres.stop()
    try:
        worker.terminate()
        assert worker.wait(15) == 0
    finally:
        postgres.start()
    service.start_worker()
    until("another attempt", lambda: service.run(run_id).attempt == 2)
