"""The gateway's endpoints, over HTTP and on a real Postgres: what is taken in, what is shown, what is refused."""

import json
import re
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import httpx
import pytest
from crewyard_runtime.execution import Outcome
from crewyard_runtime.execution.messages import Failure
from crewyard_runtime.store import Database, runs
from crewyard_runtime.testing.servers import Postgres
from crewyard_runtime.testing.service import new_database
from crewyard_runtime.usage import Usage
from runtime.gateways import APPLICATIONS, Gateway, until
from sqlalchemy import text

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY_BYTES = 10_000


@pytest.fixture(scope="module")
def gateway(postgres: Postgres, empty_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    variables = {
        "WEBHOOK_SECRET": SECRET,
        "WEBHOOK_INTERNAL_HOSTS": '["hooks.internal"]',
        "BODY_BYTES": str(BODY_BYTES),
    }
    database = new_database(postgres.url, empty_database)
    with Gateway(tmp_path_factory.mktemp("gateway"), database, variables) as made:
        yield made


@pytest.fixture
def user(gateway: Gateway) -> Iterator[httpx.Client]:
    """A new user."""
    with gateway.client() as client:
        yield client


@pytest.fixture(scope="module")
def database(gateway: Gateway) -> Iterator[Database]:
    made = Database(gateway.database_url)
    yield made
    made.close()


def submit(user: httpx.Client, **fields: Any) -> dict[str, Any]:
    """A run of the application "mail"."""
    response = user.post("/runs/mail", json={"text": "hello", **fields})
    assert response.status_code == 202, response.text
    run: dict[str, Any] = response.json()
    return run


def finish(database: Database, run_id: str, status: str = "succeeded", output: Any = None) -> None:
    """End a run as a worker does."""
    with database.transaction() as tx:
        claim = runs.claim(tx, "worker-1", APPLICATIONS, 30, 1_000_000)
        while claim is not None and str(claim.id) != run_id:
            runs.finish(tx, claim, Outcome(run_id=str(claim.id), status="succeeded"))
            claim = runs.claim(tx, "worker-1", APPLICATIONS, 30, 1_000_000)
        assert claim is not None
        error = None if status == "succeeded" else Failure(reason="it broke", chain=[])
        usage = Usage(model_calls=2, prompt_tokens=30, completion_tokens=4, cost_usd=None)
        outcome = Outcome(run_id=run_id, status=status, output=output, error=error, usage=usage, run_seconds=1.5)  # type: ignore[arg-type]
        assert runs.finish(tx, claim, outcome)


def assert_problem(response: httpx.Response, status: int) -> dict[str, Any]:
    """The problem that a response tells, of this status and in the form of RFC 9457."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = response.json()
    assert problem["status"] == status
    assert problem["type"] == "about:blank"
    assert problem["title"]
    assert problem["detail"]
    assert problem["instance"] == response.request.url.raw_path.decode().partition("?")[0]
    assert problem["request_id"] == response.headers["x-request-id"]
    return problem


def test_a_run_is_taken_in_and_shown(user: httpx.Client, database: Database) -> None:
    response = user.post("/runs/mail", json={"text": "hello\0"}, headers={"X-Request-ID": "a-1.b:C_9"})
    assert response.status_code == 202
    run = response.json()
    assert response.headers["location"] == f"/runs/{run['id']}"
    assert response.headers["x-request-id"] == run["request_id"] == "a-1.b:C_9"
    assert (run["application"], run["status"], run["attempts"], run["output"]) == ("mail", "queued", [], None)
    assert run["input"]["text"] == "hello\0"
    assert re.fullmatch("key_[0-9a-f]{32}", run["user_id"])
    assert user.get(response.headers["location"]).json() == run
    with database.transaction() as tx:
        stored = runs.find(tx, uuid.UUID(run["id"]))
    assert stored is not None
    assert stored.input == run["input"]


def test_defaults_are_the_same_in_every_attempt(user: httpx.Client) -> None:
    number = submit(user)["input"]["number"]
    assert re.fullmatch("[0-9a-f]{32}", number)


def test_a_secret_reaches_the_worker(user: httpx.Client, database: Database) -> None:
    body = {"name": "alice", "password": "open", "sizeInMetres": "inf", "user_id": "mallory"}
    run = user.post("/runs/door", json=body).json()
    with database.transaction() as tx:
        stored = runs.find(tx, uuid.UUID(run["id"]))
    assert stored is not None
    login = APPLICATIONS["door"].input.model_validate(stored.input)
    assert login.password.get_secret_value() == "open"  # type: ignore[attr-defined]
    assert login.size == float("inf")  # type: ignore[attr-defined]
    assert stored.user_id == run["user_id"] != "mallory"


def test_an_ended_run_shows_its_attempts(user: httpx.Client, database: Database) -> None:
    run_id = submit(user)["id"]
    finish(database, run_id, "failed", {"half": "\ud800"})
    run = user.get(f"/runs/{run_id}").json()
    assert (run["status"], run["error"]) == ("failed", {"reason": "it broke", "chain": []})
    assert run["output"] == {"half": "\ud800"}
    assert (run["model_calls"], run["prompt_tokens"], run["completion_tokens"], run["cost_usd"]) == (2, 30, 4, None)
    (attempt,) = run["attempts"]
    assert (attempt["number"], attempt["worker"], attempt["status"]) == (1, "worker-1", "failed")
    assert attempt["error"]["reason"] == "it broke"
    assert (attempt["prompt_tokens"], attempt["cost_usd"], attempt["run_seconds"]) == (30, None, 1.5)
    assert run["finished_at"] >= run["started_at"] >= run["created_at"]


def test_lists_go_from_the_newest_to_the_oldest_in_pages(user: httpx.Client) -> None:
    ids = [submit(user)["id"] for _ in range(5)]
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = user.get("/runs", params={"limit": "2", **cursor}).json()
        assert len(page["items"]) <= 2
        seen += [item["id"] for item in page["items"]]
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert seen == ids[::-1]


def test_lists_show_one_status_and_no_contents(user: httpx.Client) -> None:
    waits, cancelled = submit(user)["id"], submit(user)["id"]
    user.post(f"/runs/{cancelled}/cancel")
    assert [item["id"] for item in user.get("/runs?status=queued").json()["items"]] == [waits]
    (item,) = user.get("/runs?status=cancelled").json()["items"]
    assert item["id"] == cancelled
    assert not {"input", "output", "attempts", "error"} & set(item)


@pytest.mark.parametrize(
    "query", ["cursor=x", "cursor=", "cursor=1-2", "cursor=%00", "limit=0", "limit=101", "limit=x", "status=done"]
)
def test_a_bad_query_is_refused(user: httpx.Client, query: str) -> None:
    problem = assert_problem(user.get(f"/runs?{query}"), 422)
    assert problem["errors"][0]["loc"] == ["query", query.partition("=")[0]]
    assert set(problem["errors"][0]) == {"loc", "msg", "type"}


NOT_TAKEN = {
    "nothing": b"",
    "no JSON": b"{text: 1}",
    "two values": b'{"text": "a"} {}',
    "no UTF-8": b'{"text": "\xff"}',
    "half a character": b'{"text": "\\ud800"}',
    "no number": b'{"text": "a", "pages": [NaN]}',
    "infinity": b'{"text": "a", "pages": [Infinity]}',
    "more than a double": b'{"text": "a", "pages": [1e999]}',
    "more digits than Python reads": b'{"text": "a", "pages": [%s]}' % (b"1" * 5_000),
    "too deep": b'{"text": "a", "pages": %s}' % (b"[" * 40 + b"]" * 40),
    "far too deep": b"[" * 4_000,
    "another type": b'["a"]',
    "an unknown field": b'{"text": "a", "more": 1}',
    "a user": b'{"text": "a", "user_id": "mallory"}',
    "a missing field": b"{}",
}


@pytest.mark.parametrize("body", NOT_TAKEN.values(), ids=NOT_TAKEN)
def test_a_bad_body_is_refused(user: httpx.Client, body: bytes) -> None:
    response = user.post("/runs/mail", content=body, headers={"Content-Type": "application/json"})
    assert_problem(response, 422)
    assert user.get("/runs").json()["items"] == []


def test_a_refusal_says_what_is_wrong_and_does_not_repeat_it(user: httpx.Client) -> None:
    problem = assert_problem(user.post("/runs/mail", json={"text": {"secret": "sesame"}}), 422)
    assert problem["errors"] == [
        {"loc": ["body", "text"], "msg": "Input should be a valid string", "type": "string_type"}
    ]
    assert problem["detail"] == "The request is not valid: body.text: Input should be a valid string."
    assert "sesame" not in json.dumps(problem)


def test_a_refusal_of_much_is_short(user: httpx.Client) -> None:
    names = {"x" * 1_000 + str(number): 1 for number in range(8)} | {str(number): 1 for number in range(60)}
    response = user.post("/runs/mail", json={"text": "a", **names})
    assert len(assert_problem(response, 422)["errors"]) == 20
    assert len(response.content) < 8_000


def test_thirty_two_levels_are_taken(user: httpx.Client) -> None:
    body = b'{"text": "a", "pages": %s}' % (b"[" * 31 + b"]" * 31)
    assert user.post("/runs/mail", content=body, headers={"Content-Type": "application/json"}).status_code == 202


@pytest.mark.parametrize("declared", [True, False], ids=["with its length", "in pieces"])
def test_a_large_body_is_refused(user: httpx.Client, declared: bool) -> None:
    body = json.dumps({"text": "a" * BODY_BYTES * 100}).encode()
    pieces = (body[at : at + 1_000] for at in range(0, len(body), 1_000))
    content: Any = body if declared else pieces
    response = user.post("/runs/mail", content=content, headers={"Content-Type": "application/json"})
    assert str(BODY_BYTES) in assert_problem(response, 413)["detail"]


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", "", "application/jsonx"])
def test_a_body_that_is_not_declared_as_json_is_refused(user: httpx.Client, media_type: str) -> None:
    response = user.post("/runs/mail", content=b'{"text": "a"}', headers={"Content-Type": media_type})
    assert_problem(response, 415)


@pytest.mark.parametrize("media_type", ["application/json; charset=utf-8", "Application/JSON", "application/x+json"])
def test_the_types_of_json_are_taken(user: httpx.Client, media_type: str) -> None:
    response = user.post("/runs/mail", content=b'{"text": "a"}', headers={"Content-Type": media_type})
    assert response.status_code == 202


def test_the_same_request_again_gives_the_same_run(user: httpx.Client, database: Database) -> None:
    key = {"Idempotency-Key": "order 1~"}
    first = user.post(
        "/runs/mail", content=b'{"text":"a","pages":[1]}', headers={**key, "Content-Type": "application/json"}
    )
    again = user.post("/runs/mail", json={"pages": [1], "text": "a"}, headers=key)
    assert (first.status_code, again.status_code) == (202, 202)
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert again.headers["location"] == first.headers["location"]
    assert again.json() == first.json()
    assert len(user.get("/runs").json()["items"]) == 1
    with database.transaction() as tx:
        audited = tx.execute(text("SELECT count(*) FROM audit WHERE subject = :id"), {"id": first.json()["id"]})
        assert audited.scalar() == 1


@pytest.mark.parametrize(
    ("path", "body", "headers"),
    [
        ("/runs/mail", {"text": "b"}, {}),
        ("/runs/mail", {"text": "a"}, {"Webhook-URL": "https://example.com/"}),
        ("/runs/door", {"name": "a", "password": "b"}, {}),
    ],
)
def test_a_key_used_for_another_request_is_refused(
    user: httpx.Client, path: str, body: dict[str, str], headers: dict[str, str]
) -> None:
    key = {"Idempotency-Key": "order-2"}
    assert user.post("/runs/mail", json={"text": "a"}, headers=key).status_code == 202
    assert "order-2" in assert_problem(user.post(path, json=body, headers={**key, **headers}), 409)["detail"]
    assert len(user.get("/runs").json()["items"]) == 1


def test_the_same_request_at_the_same_instant_is_one_run(gateway: Gateway, user: httpx.Client) -> None:
    together = Barrier(8)

    def post(_: int) -> httpx.Response:
        together.wait(10)
        return user.post("/runs/mail", json={"text": "once"}, headers={"Idempotency-Key": "order-3"})

    with ThreadPoolExecutor(8) as pool:
        responses = list(pool.map(post, range(8)))
    assert {response.status_code for response in responses} == {202}
    assert len({response.json()["id"] for response in responses}) == 1
    assert sum("idempotency-replayed" in response.headers for response in responses) == 7


def test_a_key_is_its_users_own(gateway: Gateway, user: httpx.Client) -> None:
    key = {"Idempotency-Key": "order-4"}
    mine = user.post("/runs/mail", json={"text": "a"}, headers=key).json()
    with gateway.client() as other:
        assert other.post("/runs/mail", json={"text": "b"}, headers=key).json()["id"] != mine["id"]


@pytest.mark.parametrize("key", [b"", b"x" * 256, b"caf\xe9", b"a\tb"])
def test_a_key_of_another_form_is_refused(user: httpx.Client, key: bytes) -> None:
    assert_problem(user.post("/runs/mail", json={"text": "a"}, headers={b"Idempotency-Key": key}), 422)


def test_a_run_of_another_user_is_not_found(gateway: Gateway, user: httpx.Client) -> None:
    path = f"/runs/{submit(user)['id']}"
    with gateway.client() as other:
        for method, what in (("GET", ""), ("GET", "/events"), ("POST", "/cancel"), ("POST", "/retry")):
            theirs = assert_problem(other.request(method, path + what), 404)
            unknown = assert_problem(other.request(method, f"/runs/{uuid.uuid4()}{what}"), 404)
            assert {**theirs, "instance": 0, "request_id": 0} == {**unknown, "instance": 0, "request_id": 0}
        assert other.get("/runs").json() == {"items": [], "next": None}
    assert user.get(path).json()["status"] == "queued"


@pytest.mark.parametrize(
    ("method", "path", "status", "allowed"),
    [
        ("GET", "/runs/mail", 405, "POST"),
        ("POST", f"/runs/{uuid.uuid4()}", 405, "GET"),
        ("POST", "/runs", 405, "GET"),
        ("DELETE", "/healthz", 405, "GET"),
        ("POST", "/runs/nothing", 404, None),
        ("GET", "/runs/not-an-id", 404, None),
        ("GET", f"/runs/{uuid.uuid4()}x", 404, None),
        ("GET", "/runs/", 404, None),
        ("GET", "/docs", 404, None),
        ("GET", "/%00%ff", 404, None),
    ],
)
def test_a_path_or_method_that_is_none_is_refused(
    user: httpx.Client, method: str, path: str, status: int, allowed: str | None
) -> None:
    response = user.request(method, path)
    if path != "/%00%ff":
        assert_problem(response, status)
    assert response.status_code == status
    assert response.headers.get("allow") == allowed


def test_a_waiting_run_is_cancelled_at_once_and_only_once(user: httpx.Client, database: Database) -> None:
    run_id = submit(user)["id"]
    first = user.post(f"/runs/{run_id}/cancel", headers={"X-Request-ID": "cancelling"})
    again = user.post(f"/runs/{run_id}/cancel")
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json()["status"] == "cancelled"
    assert again.json() == first.json()
    assert noted(database, run_id) == [("run.submitted", None), ("run.cancelled", "cancelling")]


def noted(database: Database, run_id: str) -> list[tuple[str, str | None]]:
    """What the audit says of a run: actions, and the request of those that were named by the test."""
    with database.transaction() as tx:
        rows = tx.execute(
            text("SELECT action, request_id, actor, user_id FROM audit WHERE subject = :id ORDER BY id"), {"id": run_id}
        ).all()
    assert all(row.actor.startswith("key:") and row.user_id for row in rows)
    return [(row.action, None if "-" in row.request_id else row.request_id) for row in rows]


def test_a_running_run_is_told_to_end(user: httpx.Client, database: Database) -> None:
    run_id = submit(user)["id"]
    with database.transaction() as tx:
        while (claim := runs.claim(tx, "worker-1", APPLICATIONS, 30, 1_000_000)) and str(claim.id) != run_id:
            runs.finish(tx, claim, Outcome(run_id=str(claim.id), status="succeeded"))
    run = user.post(f"/runs/{run_id}/cancel").json()
    assert (run["status"], run["cancel_requested"]) == ("running", True)
    assert claim is not None
    with database.transaction() as tx:
        assert runs.renew(tx, claim, 30) is False


def test_a_run_that_failed_is_done_again(user: httpx.Client, database: Database) -> None:
    run_id = submit(user)["id"]
    finish(database, run_id, "failed")
    response = user.post(f"/runs/{run_id}/retry", headers={"X-Request-ID": "again"})
    assert response.status_code == 202
    assert (response.json()["status"], len(response.json()["attempts"])) == ("queued", 1)
    assert noted(database, run_id)[-1] == ("run.retried", "again")


@pytest.mark.parametrize("status", ["queued", "succeeded"])
def test_a_run_that_waits_or_succeeded_is_not_done_again(user: httpx.Client, database: Database, status: str) -> None:
    run_id = submit(user)["id"]
    if status == "succeeded":
        finish(database, run_id)
    assert status in assert_problem(user.post(f"/runs/{run_id}/retry"), 409)["detail"]
    assert noted(database, run_id) == [("run.submitted", None)]


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/",
        "ftp://example.com/",
        "https://",
        "https:///x",
        "nothing",
        "https://169.254.169.254/latest/meta-data",
        "https://localhost/",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://hooks.internal@10.0.0.1/",
        "https://example.com\\@10.0.0.1/",
        "https://example.com:22/",
        "https://example.com:x/",
        "https://[/",
        f"https://{'a' * 64}.example.com/",
        "https://example.com/" + "a" * 2_000,
    ],
)
def test_a_webhook_that_may_not_be_sent_is_refused(user: httpx.Client, url: str) -> None:
    assert_problem(user.post("/runs/mail", json={"text": "a"}, headers={"Webhook-URL": url}), 422)
    assert user.get("/runs").json()["items"] == []


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.internal:9000/x",
        "http://hooks.internal/x",
        "https://93.184.215.14/hook?x=1",
        "https://no-such-name.invalid/",
    ],
)
def test_a_webhook_is_noted(user: httpx.Client, database: Database, url: str) -> None:
    run = user.post("/runs/mail", json={"text": "a"}, headers={"Webhook-URL": url}).json()
    with database.transaction() as tx:
        stored = runs.find(tx, uuid.UUID(run["id"]))
    assert stored is not None
    assert stored.webhook_url == url


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, "a\\nb", "é"])
def test_another_request_id_is_made_for_a_bad_one(user: httpx.Client, given: str) -> None:
    response = user.get("/runs", headers={b"X-Request-ID": given.encode()})
    assert uuid.UUID(response.headers["x-request-id"]).version == 4


def test_every_request_is_a_line_of_the_log(gateway: Gateway, user: httpx.Client) -> None:
    run_id = submit(user)["id"]
    user.get(f"/runs/{run_id}", headers={"X-Request-ID": "line-1"})
    user.get("/nothing%0a{}", headers={"X-Request-ID": "line-2"})

    def both() -> dict[str, Any] | None:  # a line is written when its answer is on its way
        found = {line["request_id"]: line for line in gateway.lines() if line["logger"] == "crewyard.api"}
        return found if {"line-1", "line-2"} <= found.keys() else None

    found = until("both lines", both)
    line = found["line-1"]
    assert (line["method"], line["path"], line["status"]) == ("GET", "/runs/{run_id}", 200)
    assert line["run_id"] == run_id
    assert 0 < line["milliseconds"] < 10_000
    assert (found["line-2"]["path"], found["line-2"]["status"]) == ("/nothing\n{}", 404)
    (submitted,) = [line for line in found.values() if line["run_id"] == run_id and line["method"] == "POST"]
    assert submitted["path"] == "/runs/mail"


def test_what_nobody_expected_is_told_to_the_log_alone(gateway: Gateway, user: httpx.Client) -> None:
    response = user.post("/runs/trap", json={"text": "a"}, headers={"X-Request-ID": "trapped"})
    assert "sesame" not in json.dumps(assert_problem(response, 500))
    (line,) = [line for line in gateway.lines() if line["request_id"] == "trapped" and line["level"] == "ERROR"]
    assert "ZeroDivisionError: the trap of the test" in line["exc_info"]


def test_health_needs_no_credential(gateway: Gateway) -> None:
    response = httpx.get(f"{gateway.url}/healthz", trust_env=False)
    assert (response.status_code, response.json()) == (200, {"status": "ok"})
