"""The gateway when what it needs is away, full or slow: it says so, does nothing by halves, and recovers by itself."""

import os
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from crewyard_runtime.api.queue import WAKE_UPS
from crewyard_runtime.settings import ServiceSettings
from crewyard_runtime.store import Database
from crewyard_runtime.testing.servers import Postgres, Valkey
from crewyard_runtime.testing.service import new_database
from pydantic import SecretStr
from runtime.gateways import Gateway, Wakes, free_port, in_thread, make_key, until
from sqlalchemy import text

FRAMEWORKS = {"crewai", "autogen", "autogen_agentchat", "agent_framework", "litellm", "openai", "chromadb"}
FULL = """
CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; END $$;
CREATE TRIGGER full_disk BEFORE INSERT ON audit FOR EACH STATEMENT EXECUTE FUNCTION full_disk();
"""


@pytest.fixture
def database_url(postgres: Postgres, empty_database: str) -> str:
    """A database of the test's own."""
    return new_database(postgres.url, empty_database)


def post(user: httpx.Client, key: str | None = None) -> httpx.Response:
    """Submit a run."""
    return user.post("/runs/mail", json={"text": "hello"}, headers={} if key is None else {"Idempotency-Key": key})


def assert_unavailable(response: httpx.Response) -> str:
    """A 503 is a problem, and says when to come back."""
    assert response.status_code == 503
    assert response.headers["content-type"] == "application/problem+json"
    assert int(response.headers["retry-after"]) >= 1
    return str(response.json()["detail"])


def test_without_postgres_nothing_is_promised_and_with_it_again(
    postgres: Postgres, database_url: str, tmp_path: Path
) -> None:
    with Gateway(tmp_path, database_url) as gateway, gateway.client() as user:
        assert post(user).status_code == 202
        postgres.stop()
        try:
            assert "database" in assert_unavailable(post(user, "order-1"))
            assert_unavailable(user.get("/runs"))
            assert user.get("/healthz").status_code == 200
            assert "The database is not available" in assert_unavailable(user.get("/readyz"))
        finally:
            postgres.start()
        accepted = until("a run that is taken in", lambda: _accepted(post(user, "order-1")))
        items = user.get("/runs").json()["items"]
        assert items[0]["id"] == accepted["id"]
        assert len(items) == 2


def _accepted(response: httpx.Response) -> dict[str, Any] | None:
    found: dict[str, Any] = response.json()
    return found if response.status_code == 202 else None


def test_a_gateway_starts_without_postgres(tmp_path: Path) -> None:
    nowhere = f"postgresql://someone:sesame@127.0.0.1:{free_port()}/nothing"
    with Gateway(tmp_path, nowhere) as gateway, gateway.client("cy_a_b") as user:
        assert_unavailable(user.get("/runs"))
        assert "Connection refused" in assert_unavailable(user.get("/readyz"))
        assert "sesame" not in gateway.log.read_text()


def test_a_frozen_postgres_holds_up_no_health_check(postgres: Postgres, database_url: str, tmp_path: Path) -> None:
    with Gateway(tmp_path, database_url) as gateway, gateway.client() as user, ThreadPoolExecutor(20) as pool:
        user.get("/readyz")
        assert postgres._leader is not None
        server = [postgres._leader, *postgres._leader.children(recursive=True)]
        for process in server:
            process.suspend()
        try:
            waiting = [pool.submit(user.get, "/runs") for _ in range(20)]
            for path, status, most in (("/readyz", 503, 2.5), ("/healthz", 200, 1), ("/readyz", 503, 2.5)):
                started = time.monotonic()
                assert user.get(path).status_code == status
                assert time.monotonic() - started < most
        finally:
            for process in server:
                process.resume()
        assert {each.result().status_code for each in waiting} <= {200, 503}
        until("readiness", lambda: "database" not in user.get("/readyz").text)


def test_a_database_without_tables_is_named(postgres: Postgres, tmp_path: Path) -> None:
    with Gateway(tmp_path, postgres.url) as gateway, gateway.client("cy_a_b") as user:
        assert "run the command `migrate`" in assert_unavailable(user.get("/readyz"))


def test_without_the_broker_runs_are_taken_in(database_url: str, tmp_path: Path) -> None:
    broker = Valkey(tmp_path / "valkey")
    url = broker.url.replace("://", "://:sesame@")
    with Gateway(tmp_path, database_url, {"BROKER_URL": url}) as gateway, gateway.client() as user:
        started = time.monotonic()
        assert [post(user).status_code for _ in range(5)] == [202] * 5
        assert time.monotonic() - started < 5
        detail = assert_unavailable(user.get("/readyz"))
        assert detail.startswith("The broker is not available")
        assert "database" not in detail
        assert "sesame" not in detail
    with broker, Gateway(tmp_path, database_url, {"BROKER_URL": broker.url}) as gateway, gateway.client() as user:
        assert user.get("/readyz").json() == {"status": "ok"}
        broker.stop()
        assert_unavailable(user.get("/readyz"))
        broker.start()
        until("readiness", lambda: user.get("/readyz").status_code == 200)


def test_a_full_disk_is_told_and_nothing_is_half_done(database_url: str, tmp_path: Path) -> None:
    database = Database(database_url, 1)
    with database.transaction() as tx:
        tx.execute(text(FULL))
    with Gateway(tmp_path, database_url) as gateway, gateway.client() as user:
        assert "database" in assert_unavailable(post(user, "order-1"))
        with database.transaction() as tx:
            for table in ("runs", "events", "idempotency_keys", "audit"):
                assert tx.execute(text(f"SELECT count(*) FROM {table}")).scalar() == 0
            tx.execute(text("DROP TRIGGER full_disk ON audit"))
        response = post(user, "order-1")
        assert response.status_code == 202
        assert "idempotency-replayed" not in response.headers
    database.close()


def test_a_full_queue_takes_no_more(database_url: str) -> None:
    wakes = Wakes()
    settings = ServiceSettings(database_url=SecretStr(database_url), queue_bound=2)
    key = {"Authorization": f"Bearer {make_key(database_url)}"}
    with in_thread(settings, wakes) as url, httpx.Client(base_url=url, headers=key, trust_env=False) as user:
        first = post(user, "order-1").json()
        ended = post(user).json()
        assert "2 runs are waiting" in assert_unavailable(post(user))
        assert post(user, "order-1").json()["id"] == first["id"]
        user.post(f"/runs/{ended['id']}/cancel")
        assert post(user).status_code == 202
        assert "2 runs are waiting" in assert_unavailable(user.post(f"/runs/{ended['id']}/retry"))
        assert user.get(f"/runs/{ended['id']}").json()["status"] == "cancelled"
        assert len(user.get("/runs").json()["items"]) == 3
    assert wakes.sent == 3


def test_a_slow_name_server_holds_up_nobody_else(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    resolve, asked = socket.getaddrinfo, threading.Event()

    def slow(host: Any, *arguments: Any, **options: Any) -> Any:
        if host == "slow.example":
            asked.set()
            time.sleep(3)
            raise socket.gaierror(socket.EAI_AGAIN, "the name server did not answer")
        return resolve(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    secret = SecretStr("whsec_" + "a" * 32)
    settings = ServiceSettings(database_url=SecretStr(database_url), webhook_secret=secret)
    key = {"authorization": f"Bearer {make_key(database_url)}"}
    with in_thread(settings, Wakes()) as url, httpx.Client(base_url=url, headers=key, trust_env=False) as user:
        hook = {"Webhook-URL": "https://slow.example/hook"}
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(httpx.post, f"{url}/runs/mail", json={"text": "a"}, headers=key | hook, timeout=10)
            assert asked.wait(5)
            began = time.monotonic()
            assert user.get("/healthz").status_code == 200
            assert time.monotonic() - began < 1
            assert waiting.result().status_code == 202


def test_a_long_queue_needs_no_more_wake_up_calls(database_url: str) -> None:
    wakes = Wakes()
    settings = ServiceSettings(database_url=SecretStr(database_url), requests_per_minute=10_000)
    key = {"Authorization": f"Bearer {make_key(database_url)}"}
    with in_thread(settings, wakes) as url, httpx.Client(base_url=url, headers=key, trust_env=False) as user:
        ids = [post(user).json()["id"] for _ in range(WAKE_UPS + 5)]
        assert wakes.sent == WAKE_UPS
        for run_id in ids[:10]:
            user.post(f"/runs/{run_id}/cancel")
        post(user)
        user.post(f"/runs/{ids[0]}/retry")
    assert wakes.sent == WAKE_UPS + 2


def test_a_request_that_is_being_answered_is_answered(database_url: str, tmp_path: Path) -> None:
    database = Database(database_url, 1)
    with Gateway(tmp_path, database_url) as gateway, gateway.client() as user, ThreadPoolExecutor(1) as pool:
        with database.transaction() as tx:
            tx.execute(text("LOCK TABLE runs"))
            answer = pool.submit(post, user)
            until("the wait for the lock", lambda: _waits_for_a_lock(gateway.database_url))
            gateway.process.terminate()
            until("the end of the listening", lambda: _refuses(gateway.url))
            assert gateway.process.poll() is None
        assert answer.result().status_code == 202
        assert gateway.process.wait(10) == 0
    database.close()


def _waits_for_a_lock(database_url: str) -> bool:
    other = Database(database_url, 1)
    with other.transaction() as tx:
        query = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        waits = bool(tx.execute(text(query)).scalar())
    other.close()
    return waits


def _refuses(url: str) -> bool:
    try:
        httpx.get(f"{url}/healthz", trust_env=False)
    except httpx.TransportError:
        return True
    return False


def test_the_gateway_imports_no_framework_and_nothing_that_it_may_not_need() -> None:
    code = "import sys; from crewyard_runtime.api.app import create_app; create_app({}); print(*sys.modules)"
    process = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "DATABASE_URL": "postgresql://localhost/x", "BROKER_URL": "redis://localhost"},
    )
    loaded = {name.partition(".")[0] for name in process.stdout.split()}
    assert {"fastapi", "sqlalchemy"} <= loaded
    assert not loaded & (FRAMEWORKS | {"jwt", "drawbridge", "alembic", "rich"})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (ServiceSettings(database_url=None), "DATABASE_URL is not set"),
        (ServiceSettings(database_url=SecretStr("postgresql://x/y"), auth="oidc"), "OIDC_ISSUER"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: ServiceSettings, message: str) -> None:
    from crewyard_runtime.api.app import make_app

    with pytest.raises(ValueError, match=message):
        make_app(settings, {}, Wakes())
