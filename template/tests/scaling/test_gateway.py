"""The gateway: who asks gets their own runs alone, a request sent twice is one run, and nothing holds it up."""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from crewyard_runtime.testing.failures import guard
from crewyard_runtime.testing.service import Service, until
from sqlalchemy import text

FRAMEWORKS = ("crewai", "autogen", "autogen_agentchat", "agent_framework", "litellm", "langchain", "openai")
USERS = 10


def client(service: Service, key: str) -> httpx.Client:
    """An HTTP client of one user."""
    return httpx.Client(base_url=service.api_url, headers={"Authorization": f"Bearer {key}"}, timeout=10)


def ended(user: httpx.Client, run: str, seconds: float = 30) -> dict[str, Any]:
    """A run, once it has ended."""
    states = ("succeeded", "failed", "timed_out", "cancelled", "dead")

    def find() -> dict[str, Any] | None:
        body: dict[str, Any] = user.get(run).raise_for_status().json()
        return body if body["status"] in states else None

    return until(f"the end of {run}", find, seconds)


def test_a_request_becomes_a_run_with_a_result(standing_service: Service) -> None:
    service = standing_service
    with client(service, service.key()) as user:
        answers = [user.post("/runs/faulty", json={"text": f"text {number}"}) for number in range(8)]
        assert {answer.status_code for answer in answers} == {202}
        results = [ended(user, answer.headers["location"]) for answer in answers]
    assert [result["output"]["text"] for result in results] == [f"text {number}" for number in range(8)]


@pytest.mark.guards("F19")
def test_the_same_request_sent_twice_at_once_is_one_run(standing_service: Service) -> None:
    service = standing_service
    key = service.key("sends twice")

    def post(_: int) -> httpx.Response:
        with client(service, key) as user:
            return user.post("/runs/faulty", json={"text": "once"}, headers={"Idempotency-Key": "order-1"})

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(post, range(8)))
    locations = {answer.headers.get("location") for answer in answers}
    guard("F19", [f"one request became {len(locations)} runs"] if len(locations) != 1 else [])
    assert {answer.status_code for answer in answers} == {202}
    with client(service, key) as user:
        other = user.post("/runs/faulty", json={"text": "other"}, headers={"Idempotency-Key": "order-1"})
    assert other.status_code == 409


@pytest.mark.guards("F02")
def test_a_user_sees_no_run_of_another(standing_service: Service) -> None:
    service = standing_service
    with client(service, service.key("alice")) as alice, client(service, service.key("bob")) as bob:
        run = alice.post("/runs/faulty", json={"text": "alice's"}).headers["location"]
        tried = [("GET", run), ("GET", f"{run}/events"), ("POST", f"{run}/cancel"), ("POST", f"{run}/retry")]
        seen = [
            f"{method} {path} answers {answer.status_code} to another user"
            for method, path in tried
            if (answer := bob.request(method, path)).status_code != 404
        ]
        listed = [item["id"] for item in bob.get("/runs").json()["items"]]
    guard("F02", [*seen, *(f"run {run_id} is listed for another user" for run_id in listed)])


@pytest.mark.soak
@pytest.mark.guards("F02")
def test_users_at_once_get_their_own_answers(standing_service: Service) -> None:
    service = standing_service
    keys = [service.key(f"user {number}") for number in range(USERS)]

    def ask(number: int) -> str:
        with client(service, keys[number]) as user:
            runs = [user.post("/runs/faulty", json={"text": f"canary-{number}-of-a-user"}) for _ in range(3)]
            return " ".join(str(ended(user, run.headers["location"])) for run in runs)

    with ThreadPoolExecutor(USERS) as pool:
        answers = list(pool.map(ask, range(USERS)))
    found = [
        f"user {reader} got what user {writer} sent"
        for reader, answer in enumerate(answers)
        for writer in range(USERS)
        if reader != writer and f"canary-{writer}-" in answer
    ]
    guard("F02", found)
    assert all(answer.count(f"canary-{number}-") >= 3 for number, answer in enumerate(answers))


@pytest.mark.guards("F12")
def test_the_gateway_answers_while_its_database_does_not(standing_service: Service) -> None:
    service = standing_service
    with client(service, service.key()) as user, ThreadPoolExecutor(20) as pool:
        locked = service.database.engine.connect()
        locked.execute(text("LOCK TABLE runs IN ACCESS EXCLUSIVE MODE"))
        waiting = [pool.submit(user.post, "/runs/faulty", json={}) for _ in range(10)]
        started = time.monotonic()
        health = httpx.get(f"{service.api_url}/healthz", timeout=5)
        took = time.monotonic() - started
        locked.close()
        assert {each.result().status_code for each in waiting} <= {202, 503}
    guard("F12", [f"/healthz took {took:.1f} s while requests waited for the database"] if took > 1 else [])
    assert health.status_code == 200


@pytest.mark.soak
def test_a_stopped_gateway_ends_its_event_streams(service: Service) -> None:
    api = service.start_api()
    with client(service, service.key()) as user:
        run = user.post("/runs/faulty", json={}).headers["location"]
        with user.stream("GET", f"{run}/events") as stream:
            lines = stream.iter_lines()
            assert next(lines)
            api.terminate()
            started = time.monotonic()
            list(lines)
    assert api.wait(10) == 0
    assert time.monotonic() - started < 5


@pytest.mark.guards("F19")
def test_runs_taken_in_while_the_broker_is_down_are_done_when_it_is_back(service: Service, broker: Any) -> None:
    service.start_api()
    service.start_worker()
    broker.stop()
    try:
        with client(service, service.key()) as user:
            answers = [user.post("/runs/faulty", json={"text": "patient"}) for _ in range(3)]
        guard("F19", [f"a request got {each.status_code}" for each in answers if each.status_code != 202])
    finally:
        broker.start()
    with client(service, service.key()) as user:
        results = [ended(user, each.headers["location"]) for each in answers]
    assert {result["status"] for result in results} == {"succeeded"}


@pytest.mark.guards("F25")
def test_the_gateway_imports_no_framework() -> None:
    code = "import sys, crewyard_runtime.api.app as api; api.create_app(); print(*sys.modules, sep='\\n')"
    servers = {"DATABASE_URL": "postgresql://localhost/x", "BROKER_URL": "redis://localhost", "BROKER": "redis"}
    servers |= {"AUTH": "api-keys", "SECRETS": "environment"}  # the others ask servers that are not here
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=_with(servers), timeout=60
    )
    assert process.returncode == 0, process.stderr[-2_000:]
    loaded = set(process.stdout.split())
    assert "fastapi" in loaded
    guard("F25", [f"the gateway imports {name}" for name in FRAMEWORKS if name in loaded])


def _with(variables: dict[str, str]) -> dict[str, str]:
    return {**os.environ, **variables, "OPENAI_API_KEY": "offline"}
