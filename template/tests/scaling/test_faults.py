"""Whatever dies on the way, every accepted run gets exactly one recorded end.

An application without a framework does what these tests ask of it, on the project's own store, broker and workers.
"""

import signal
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from crewyard_runtime.store import events, runs
from crewyard_runtime.testing.failures import guard
from crewyard_runtime.testing.model_server import ModelServer
from crewyard_runtime.testing.servers import Broker, Postgres
from crewyard_runtime.testing.service import LEASE_SECONDS, Service, freeze, lives, thaw, until
from sqlalchemy import text

pytestmark = pytest.mark.guards("F19")

soak = pytest.mark.soak

SLACK = 10  # seconds beyond the lease: five for a client that froze in a transaction, the rest for a busy machine
A_WHILE = LEASE_SECONDS * 2


def one_end(service: Service, ids: list[UUID], status: str = "succeeded", seconds: float = 60) -> None:
    """Fail as F19 unless each run ends within the time, with this status, and with one event that says so."""
    ended = service.until_ended(ids, seconds)
    seen = [f"run {run.id} is {run.status}: {run.error}" for run in ended.values() if run.status != status]
    with service.database.transaction() as tx:
        for run_id in ids:
            ends = [event for event in events.after(tx, run_id, 0) if event.kind == events.ENDED]
            seen += [f"run {run_id} has {len(ends)} recorded ends"] if len(ends) != 1 else []
    guard("F19", seen)


def calls(model_server: ModelServer, run_id: UUID, attempt: int = 1) -> list[float]:
    """When an attempt called the model, in seconds since the epoch."""
    return [at for at, said in _said(model_server) if said[:2] == [str(run_id), str(attempt)]]


def process_of(model_server: ModelServer, run_id: UUID) -> int:
    """Wait for the first model call of a run, which tells the number of its process."""
    found = until(
        "a model call of the run", lambda: [said for _, said in _said(model_server) if said[0] == str(run_id)]
    )
    return int(found[0][2])


def _said(model_server: ModelServer) -> list[tuple[float, list[str]]]:
    bodies = [(request["at"], request["body"] or {}) for request in model_server.requests]
    said = [(at, str(body["messages"][-1]["content"]).split()) for at, body in bodies if body.get("messages")]
    return [(at, words) for at, words in said if words]  # an agent of the project may have said nothing


def guard_silence(model_server: ModelServer, run_id: UUID, process: int | None, since: float, allowed: float) -> None:
    """Fail as F19 if the first attempt called the model `allowed` seconds after `since`, or if its process lives."""
    late = [at for at in calls(model_server, run_id) if at > since + allowed]
    seen = [f"attempt 1 called the model {len(late)} times after it had lost its run"] if late else []
    guard("F19", seen + (["the process of attempt 1 lives"] if process and lives(process) else []))


@pytest.mark.parametrize(
    "stage", ["running", pytest.param("claimed", marks=soak), pytest.param("recording", marks=soak)]
)
def test_a_killed_worker_loses_no_run(standing_service: Service, model_server: ModelServer, stage: str) -> None:
    service = standing_service
    [run_id] = service.submit({"seconds": A_WHILE if stage == "running" else 1})
    service.until_status(run_id, "running")
    worker = service.worker_of(run_id)
    with service.database.transaction() as tx:
        process = process_of(model_server, run_id) if stage != "claimed" else None
        if stage == "recording":
            # While its row is locked, the end of the run cannot be recorded.
            tx.execute(text("SELECT 1 FROM runs WHERE id = :id FOR UPDATE"), {"id": run_id})
            until("the end of the work", lambda: process and not lives(process))
        service.kill_only(worker)
        killed = time.time()
    until("another attempt", lambda: service.run(run_id).attempt == 2, LEASE_SECONDS + SLACK)
    taken_over = time.time() - killed
    one_end(service, [run_id])
    guard_silence(model_server, run_id, process, since=killed, allowed=1)
    assert taken_over <= LEASE_SECONDS + SLACK


def test_a_frozen_worker_cannot_record_or_go_on(standing_service: Service, model_server: ModelServer) -> None:
    service = standing_service
    [run_id] = service.submit({"seconds": 60})
    service.until_status(run_id, "running")
    process = process_of(model_server, run_id)
    worker = service.worker_of(run_id)
    freeze(worker)
    frozen = time.time()
    until("another attempt", lambda: service.run(run_id).attempt == 2, LEASE_SECONDS + SLACK)
    thaw(worker)
    until("the refusal of the first attempt", lambda: "another worker's" in service.log(worker))
    one_end(service, [run_id])
    assert service.run(run_id).output["attempt"] == 2
    guard_silence(model_server, run_id, process, since=frozen, allowed=LEASE_SECONDS + 1)


@soak
def test_a_restarted_database_loses_no_run(standing_service: Service, postgres: Postgres) -> None:
    service = standing_service
    ids = service.submit({"seconds": 1.5}, *[{"text": "next"}] * 4)
    service.until_status(ids[0], "running")
    postgres.restart()
    one_end(service, ids)


@soak
def test_a_killed_database_loses_no_run(service: Service, postgres: Postgres) -> None:
    service.start_worker()
    ids = service.submit({"seconds": 1.5}, {"text": "next"})
    service.until_status(ids[0], "running")
    postgres.kill()
    postgres.start()
    one_end(service, ids)


def _restart(broker: Broker) -> None:
    broker.restart()


def _flush(broker: Broker) -> None:
    broker.flush()


@pytest.mark.parametrize("fault", [_flush, pytest.param(_restart, marks=soak)])
def test_a_broker_that_forgets_loses_no_run(
    standing_service: Service, broker: Broker, fault: Callable[[Broker], None]
) -> None:
    service = standing_service
    ids = service.submit({"seconds": 1}, {"seconds": 1}, *[{"text": "next"}] * 4)
    service.until_status(ids[0], "running")
    fault(broker)
    ids += service.submit({"text": "after the fault"})
    one_end(service, ids)


@soak
def test_a_poison_run_is_dead_in_the_end(service: Service) -> None:
    [poison] = service.submit({"then": "kill_its_worker"}, max_attempts=2)
    workers = service.start_workers(3)
    until("the death of two workers", lambda: sum(worker.poll() is not None for worker in workers) == 2)
    [innocent] = service.submit({"text": "innocent"})
    one_end(service, [poison], "dead")
    one_end(service, [innocent])
    errors = [attempt.error for attempt in service.attempts(poison)]
    assert len(errors) == 2
    assert all(error["reason"] for error in errors)
    with service.database.transaction() as tx:
        runs.retry(tx, poison, max_attempts=1)
    until("the death of the third worker", lambda: all(worker.poll() is not None for worker in workers))


def test_a_run_whose_process_dies_is_tried_again_and_dead_in_the_end(standing_service: Service) -> None:
    service = standing_service
    [run_id] = service.submit({"then": "kill_itself"}, max_attempts=3)
    one_end(service, [run_id], "dead")
    assert [attempt.status for attempt in service.attempts(run_id)] == ["lost"] * 3


def test_a_worker_that_has_to_stop_hands_its_run_back(standing_service: Service, model_server: ModelServer) -> None:
    service = standing_service
    [run_id] = service.submit({"seconds": A_WHILE})
    process = process_of(model_server, run_id)
    first = service.worker_of(run_id)
    first.terminate()
    assert first.wait(10) == 0
    stopped = time.time()
    attempt = service.attempts(run_id)[0]
    guard("F19", [] if attempt.status == "returned" else [f"at SIGTERM the attempt became {attempt.status}"])
    assert service.run(run_id).lost == 0
    one_end(service, [run_id])
    guard_silence(model_server, run_id, process, since=stopped, allowed=0)


@soak
def test_a_worker_that_has_to_stop_finishes_a_short_run(make_service: Any) -> None:
    service = make_service({"GRACE_SECONDS": "20"})
    worker = service.start_worker()
    [run_id] = service.submit({"seconds": 1})
    service.until_status(run_id, "running")
    worker.terminate()
    assert worker.wait(20) == 0
    one_end(service, [run_id])
    assert len(service.attempts(run_id)) == 1


@soak
def test_sigquit_hands_the_run_back_at_once(make_service: Any) -> None:
    service = make_service({"GRACE_SECONDS": "60"})
    worker = service.start_worker()
    [run_id] = service.submit({"seconds": 30})
    service.until_status(run_id, "running")
    worker.send_signal(signal.SIGQUIT)
    assert worker.wait(10) == 0
    assert service.run(run_id).status == "queued"


def test_a_cancelled_run_ends_and_calls_no_model_after(standing_service: Service, model_server: ModelServer) -> None:
    service = standing_service
    running = service.submit(*[{"seconds": 30}] * len(service.workers))
    processes = [process_of(model_server, run_id) for run_id in running]
    [queued] = service.submit({"text": "never started"})
    with service.database.transaction() as tx:
        assert runs.cancel(tx, queued) == "cancelled"
        for run_id in running:
            runs.cancel(tx, run_id)
    one_end(service, [*running, queued], "cancelled", seconds=10)
    assert not service.attempts(queued)
    for run_id, process in zip(running, processes, strict=True):
        ended = service.run(run_id).finished_at.timestamp()
        guard_silence(model_server, run_id, process, since=ended, allowed=0)


@soak
def test_a_user_gets_no_more_than_their_share(make_service: Any) -> None:
    service = make_service({"RUNS_PER_USER": "2"})
    greedy = service.submit(*[{"seconds": 0.3}] * 6, user_id="greedy")
    modest = service.submit({"text": "one"}, user_id="modest")
    service.start_workers(3)
    one_end(service, [*greedy, *modest])
    spans = sorted((run.started_at, run.finished_at) for run in map(service.run, greedy))
    at_once = max(sum(start <= moment < end for start, end in spans) for moment, _ in spans)
    guard("F19", [f"{at_once} runs of one user went on at once; the bound is 2"] if at_once > 2 else [])
    assert service.run(modest[0]).finished_at < max(end for _, end in spans)


def test_many_runs_end_once_each(standing_service: Service) -> None:
    many_runs_end_once_each(standing_service, 12, workers=2)


@soak
@pytest.mark.parametrize("workers", [1, 2, 4])
def test_many_runs_end_once_each_however_many_workers(service: Service, workers: int) -> None:
    service.start_workers(workers)
    many_runs_end_once_each(service, 60, workers)


def many_runs_end_once_each(service: Service, runs: int, workers: int) -> None:
    """Fail as F19 unless each of so many short runs has one attempt, its own result, and all workers took part."""
    ids = service.submit(*[{"text": f"order {number}", "seconds": 0.1} for number in range(runs)])
    one_end(service, ids, seconds=240)
    attempts = [service.attempts(run_id) for run_id in ids]
    guard("F19", [f"a run has {len(each)} attempts" for each in attempts if len(each) != 1])
    assert [service.run(run_id).output["text"] for run_id in ids] == [f"order {number}" for number in range(runs)]
    assert len({each[0].worker for each in attempts}) == workers


@soak
@pytest.mark.parametrize("runs_are", ["long", "short"])
def test_a_long_queue_does_not_fill_the_broker(service: Service, broker: Broker, runs_are: str) -> None:
    if runs_are == "long":
        service.submit(*[{"seconds": 60}] * 2)
    service.submit(*[{"text": "waits"}] * 10_000)
    workers = service.start_workers(2)
    until("the first claims", lambda: all("attempt 1 of a run" in service.log(worker) for worker in workers))
    time.sleep(0.5 * 10)  # ten sweeps of each worker, whose result is that nothing happens
    length = service.queue_length()
    guard("F19", [f"{length} wake-up calls wait at the broker"] if length > 10 else [])
