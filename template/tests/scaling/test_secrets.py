"""Secrets stay where they belong: a run sees none of the service's, and none is in code, a log or a prompt."""

import os
import secrets
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from crewyard_runtime.settings import ApplicationSettings, RuntimeSettings
from crewyard_runtime.testing.failures import guard
from crewyard_runtime.testing.plugin import Observed
from crewyard_runtime.testing.repository import secrets_in
from crewyard_runtime.testing.service import Service
from pydantic import SecretStr
from sqlalchemy import make_url, text

# Without capabilities root, too, reads no process that keeps itself private: the user of an image has none either.
SHORTEST = 8  # characters of a secret that is looked for: an example of "x" is everywhere
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
    service.stand(workers=1)
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


@pytest.mark.guards("F23")
def test_no_key_is_in_the_projects_files() -> None:
    guard("F23", secrets_in(Path.cwd()))


@pytest.mark.guards("F23")
def test_no_secret_of_a_run_is_told(
    observed: Observed, runtime_settings: RuntimeSettings, application_settings: ApplicationSettings
) -> None:
    values = [getattr(application_settings, name) for name in type(application_settings).model_fields]
    planted = [runtime_settings.openai_api_key, *values]
    hidden = [each.get_secret_value() for each in planted if isinstance(each, SecretStr)]
    hidden = [secret for secret in hidden if len(secret) >= SHORTEST]
    told = {
        "what a run prints or logs": observed.report.printed,
        "a prompt": "\n".join(observed.prompts),
        "an event": "\n".join(observed.report.events),
        "an outcome": "\n".join(outcome.model_dump_json() for outcome in observed.report.outcomes),
    }
    guard("F23", [f"{place} carries a secret" for place, text in told.items() if any(map(text.__contains__, hidden))])


def test_looking_around_finds_what_is_there(standing_service: Service) -> None:
    service = standing_service
    [run_id] = service.submit({"then": "look_around", "text": "a-secret", "secrets": ["terces-a"]})
    run = service.until_ended([run_id])[run_id]
    assert run.output["found"] == ["its objects"], "the test above would see nothing"
