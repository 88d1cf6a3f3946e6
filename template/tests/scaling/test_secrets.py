"""A run sees no secret of the service: not in its environment, not in another process, not in an object."""

import os
import secrets
import shutil
import sys
from typing import Any

import pytest
from crewyard_runtime.testing.failures import guard
from sqlalchemy import make_url, text

# Without capabilities root, too, reads no process that keeps itself private: the user of an image has none either.
AS_IN_AN_IMAGE = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")


@pytest.mark.guards("F23")
def test_a_run_finds_no_secret_of_the_service(make_service: Any) -> None:
    if sys.platform != "linux":
        pytest.skip("only Linux keeps a process from the eyes of its user's other processes")
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        pytest.skip("root reads every process, and setpriv (util-linux), which would take that away, is not here")
    password, webhook = secrets.token_hex(16), secrets.token_hex(16)
    service = make_service(
        {"WEBHOOK_SECRET": f"whsec_{webhook}", "OIDC_AUDIENCE": webhook},
        run_as=AS_IN_AN_IMAGE if os.geteuid() == 0 else (),
    )
    with service.database.transaction() as tx:
        tx.execute(text(f"CREATE ROLE user_{password} LOGIN SUPERUSER PASSWORD '{password}'"))
    url = make_url(service.database_url).set(username=f"user_{password}", password=password)
    service.database_url = url.render_as_string(hide_password=False)
    service.start_api()
    service.start_worker()
    planted = {"the database's password": password, "the webhooks' secret": webhook}
    if (broker := make_url(service.broker["BROKER_URL"]).password) and broker not in ("guest", "testing"):
        planted["the broker's password"] = broker
    # Backwards, so that the order itself carries none.
    [run_id] = service.submit({"then": "look_around", "secrets": [each[::-1] for each in planted.values()]})
    run = service.until_ended([run_id])[run_id]
    assert run.status == "succeeded", run.error
    guard("F23", [f"a run finds a secret of the service in {place}" for place in run.output["found"]])
    ours = [each for each in run.output["writable"] if "crewyard_runtime" in each or "forkserver" in each]
    guard("F23", [f"a run may change the memory of {each}" for each in ours])


def test_looking_around_finds_what_is_there(make_service: Any) -> None:
    service = make_service()
    service.start_worker()
    [run_id] = service.submit({"then": "look_around", "text": "a-secret", "secrets": ["terces-a"]})
    run = service.until_ended([run_id])[run_id]
    assert run.output["found"] == ["its objects"], "the test above would see nothing"
