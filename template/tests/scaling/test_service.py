"""This project's own application behind its gateway: it survives its worker, and no user meets another's data."""

import time
from uuid import UUID

import httpx
import pytest
from crewyard_runtime import Application
from crewyard_runtime.testing.failures import guard, guard_ends
from crewyard_runtime.testing.inputs import leaks, marked_inputs
from crewyard_runtime.testing.model_server import ModelServer
from crewyard_runtime.testing.service import LEASE_SECONDS, Service, ends, until

AT_ONCE = 10


@pytest.mark.guards("F02")
def test_users_at_once_meet_no_data_of_each_other(own_service: Service, application: Application) -> None:
    service = own_service
    inputs = marked_inputs(application, AT_ONCE)
    canaries = [canary for canary, _ in inputs]
    answers: list[str] = []
    clients = [
        httpx.Client(base_url=service.api_url, headers={"Authorization": f"Bearer {service.key(f'user {number}')}"})
        for number in range(AT_ONCE)
    ]
    posted = [
        client.post(f"/runs/{application.name}", json=data) for client, (_, data) in zip(clients, inputs, strict=True)
    ]
    assert {answer.status_code for answer in posted} == {202}, [answer.text for answer in posted]
    deadline = time.monotonic() + 120
    for client, answer in zip(clients, posted, strict=True):
        run = client.get(answer.headers["location"])
        while run.json()["status"] in ("queued", "running") and time.monotonic() < deadline:
            time.sleep(0.1)
            run = client.get(answer.headers["location"])
        guard_ends(ends([service.run(UUID(run.json()["id"]))]))
        events = client.get(f"{answer.headers['location']}/events").text
        answers.append(run.text + events)
        client.close()
    guard("F02", leaks(canaries, answers))


@pytest.mark.soak
@pytest.mark.guards("F19")
def test_a_run_survives_its_worker(own_service: Service, application: Application, faults: ModelServer) -> None:
    service = own_service
    faults.fail("slow", times=1, seconds=LEASE_SECONDS)  # so that there is a middle in which to kill
    before = len(faults.requests)
    [run_id] = service.submit(marked_inputs(application, 1)[0][1], application=application.name)
    until("the first model call", lambda: len(faults.requests) > before or None)
    service.kill_only(service.worker_of(run_id))
    if service.environment["MEMORY"] == "volume":  # which takes one worker at a time
        service.start_worker()
    run = service.until_ended([run_id])[run_id]
    guard_ends(ends([run]))
    states = [attempt.status for attempt in service.attempts(run_id)]
    guard("F19", [f"its attempts ended as {', '.join(states)}"] if states != ["lost", "succeeded"] else [])
