"""Fixtures of the deployment's tests: an engine, stand-ins for the images that projects name, and projects on it."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import copier
import pytest
from conftest import commit, sh
from deployment.compose import Deployment
from deployment.engine import (
    BUILD_SECONDS,
    Engine,
    engine,
    images_of,
    make_base,
    make_client,
    make_server,
    make_uv,
    reason_against,
)

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
# Keys that must never be seen where they do not belong.
PLANTED = {
    "OPENAI_API_KEY": "sk-planted-7f3a91c2e4d85b60",
    "WEBHOOK_SECRET": "whsec_cGxhbnRlZHdlYmhvb2tzZWNyZXQxMjM0NTY3OA==",
}
# Short, so that what a dead worker held is free again soon.
OVERRIDE = """
x-soon: &soon {environment: {LEASE_SECONDS: "2", GRACE_SECONDS: "2", SWEEP_SECONDS: "0.3"}}
services: {gateway: *soon, worker: *soon, crew: *soon}
"""


@dataclass(frozen=True)
class Built:
    """A project and its image."""

    engine: Engine
    place: Path
    tag: str

    def build(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Build the image again, from the project as it is."""
        return self.engine.call("docker", "build", *arguments, str(self.place), check=check, seconds=BUILD_SECONDS)

    def run(
        self, *arguments: str, options: tuple[str, ...] = (), check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """A container of the image, as an operator would harden it."""
        hardened = ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--network=none")
        return self.engine.call("docker", "run", "--rm", *hardened, *options, self.tag, *arguments, check=check)

    def shell(self, script: str) -> str:
        """What a shell in the image prints."""
        return self.run("-c", script, options=("--entrypoint=sh", "--user=0")).stdout


Build = Callable[..., Built]


@pytest.fixture(scope="session")
def docker() -> Iterator[Engine]:
    """The engine. Where there can be none the tests are skipped, but in CI they fail."""
    if reason := reason_against():
        if os.environ.get("CREWYARD_ENGINE") == "required":
            pytest.fail(reason)
        pytest.skip(reason)
    with engine() as found:
        yield found


@pytest.fixture(scope="session")
def named(template: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The images that projects name, by the last part of their names."""
    place = tmp_path_factory.mktemp("named")
    found: dict[str, str] = {}
    for answers in ({}, {"broker": "rabbitmq", "code_execution": "docker"}, {"broker": "sqs", "memory": "qdrant"}):
        project = place / "-".join(["project", *answers.values()])
        data = {"python_version": PYTHON, **answers}
        copier.run_copy(str(template), project, data=data, defaults=True, quiet=True, unsafe=False)
        found |= images_of(project)
    return found


@pytest.fixture(scope="session")
def base(docker: Engine, named: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """The image that stands in for python:X.Y.Z-slim, and the one for uv."""
    place = tmp_path_factory.mktemp("base")
    make_uv(docker, named["uv"], place)
    make_base(docker, named["python"], place)
    return named["python"]


@pytest.fixture(scope="session")
def server(
    docker: Engine, named: dict[str, str], base: str, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], None]:
    """Make the image that stands in for a server's."""
    tags = {"postgres": named["pgvector"], **{name: named[name] for name in ("valkey", "rabbitmq", "moto")}}

    @cache
    def make(name: str) -> None:
        make_server(docker, name, tags[name], base, tmp_path_factory.mktemp(name))

    return make


@pytest.fixture(scope="session")
def client(docker: Engine, named: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """The image that stands in for docker's."""
    make_client(docker, named["docker"], tmp_path_factory.mktemp("client"))
    return named["docker"]


@pytest.fixture(scope="session")
def build(docker: Engine, template: Path, base: str, tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Render a project, lock it and build its image, with keys all over the place that must not get in."""

    def make(**answers: str) -> Built:
        name = answers.get("project_name", "my-crew")
        place = tmp_path_factory.mktemp("built") / name
        data = {"python_version": PYTHON, **answers}
        copier.run_copy(str(template), place, data=data, defaults=True, quiet=True, unsafe=False)
        sh(place, "uv", "lock", "--quiet")
        commit(place, "copied")
        keys = "".join(f"{name}={value}\n" for name, value in PLANTED.items())
        for file in (".env", ".env.local", f"src/{name.replace('-', '_')}/.env", "notes.txt"):
            (place / file).write_text(keys)
        (place / "compose.override.yaml").write_text(OVERRIDE)
        built = Built(docker, place, name)
        built.build("--tag", name, "--build-arg", "REVISION=4bc1", "--build-arg", "VERSION=1.2.3")
        return built

    return make


@pytest.fixture(scope="session")
def crewai(build: Build) -> Built:
    """The project of the default answers."""
    return build()


@pytest.fixture(scope="session")
def deployment(crewai: Built, server: Callable[[str], None]) -> Iterator[Deployment]:
    """The project of the default answers, up on the model server."""
    server("postgres")
    server("valkey")
    with _up(crewai) as found:
        yield found


@pytest.fixture(scope="session")
def another(build: Build, server: Callable[[str], None]) -> Iterator[Deployment]:
    """A project of AutoGen on RabbitMQ."""
    server("postgres")
    server("rabbitmq")
    with _up(build(project_name="my-team", framework="autogen", broker="rabbitmq")) as found:
        yield found


@pytest.fixture(params=["deployment", "another"])
def either(request: pytest.FixtureRequest) -> Deployment:
    """Each of both."""
    found: Deployment = request.getfixturevalue(request.param)
    return found


@contextmanager
def _up(built: Built) -> Iterator[Deployment]:
    """The project, brought up. Compose has no need to build: its name for the image is that of the built one."""
    found = Deployment(built.engine, built.place)
    sh(built.place, "uv", "run", "--quiet", built.tag, "secrets", "init")
    try:
        found.up()
        yield found
    finally:
        found.compose("down", "--volumes", check=False)
