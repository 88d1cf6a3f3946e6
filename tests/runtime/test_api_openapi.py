"""The OpenAPI document, held against the gateway by schemathesis: all of its checks, in all of its phases."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from crewyard_runtime.execution import Outcome
from crewyard_runtime.store import Database, runs
from crewyard_runtime.testing.servers import Postgres
from crewyard_runtime.testing.service import new_database
from runtime.gateways import APPLICATIONS, Gateway, make_key


@contextmanager
def worked_on(database_url: str) -> Iterator[None]:
    """End runs as they come, so that event streams end too."""
    database, done = Database(database_url, 1), threading.Event()

    def work() -> None:
        while not done.wait(0.01):
            with database.transaction() as tx:
                claim = runs.claim(tx, "worker-1", APPLICATIONS, 30, 1_000_000)
                if claim is not None:
                    runs.finish(tx, claim, Outcome(run_id=str(claim.id), status="failed"))

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        database.close()


def test_the_document_is_right(postgres: Postgres, empty_database: str, tmp_path: Path) -> None:
    database_url = new_database(postgres.url, empty_database)
    variables = {"WEBHOOK_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "REQUESTS_PER_MINUTE": "1000000"}
    program = str(Path(sys.executable).parent / "schemathesis")
    with Gateway(tmp_path, database_url, variables) as gateway, worked_on(database_url):
        url = f"{gateway.url}/openapi.json"
        key = f"Authorization: Bearer {make_key(database_url, may_act_for=True)}"
        # The trap answers 500, as it must; the broker is away, so the gateway is not ready, as it says.
        left_out = ["--exclude-path", "/runs/trap", "--exclude-path", "/readyz"]
        command = [program, "run", url, "-H", key, *left_out, "--checks", "all", "-n", "15", "--request-timeout", "20"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-5_000:]


def test_each_application_has_its_input_in_the_document(
    postgres: Postgres, empty_database: str, tmp_path: Path
) -> None:
    with Gateway(tmp_path, new_database(postgres.url, empty_database)) as gateway:
        document = httpx.get(f"{gateway.url}/openapi.json", trust_env=False).json()
    for name, application in APPLICATIONS.items():
        operation = document["paths"][f"/runs/{name}"]["post"]
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        assert schema == {"$ref": f"#/components/schemas/{application.input.__name__}"}
        assert {"202", "401", "403", "409", "413", "415", "422", "429", "500", "503"} == set(operation["responses"])
        # Without a secret to sign with, no webhook can be asked for.
        assert "Webhook-URL" not in {parameter["name"] for parameter in operation["parameters"]}
    assert document["components"]["securitySchemes"] == {
        "bearer": {
            "type": "http",
            "scheme": "bearer",
            "description": "an API key, or a token of the OIDC issuer",
        }
    }
