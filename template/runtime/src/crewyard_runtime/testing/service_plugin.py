"""The pytest plugin's fixtures for services: real servers, and a service on them for each test."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    from crewyard_runtime.application import Application
    from crewyard_runtime.testing.memories import Memories
    from crewyard_runtime.testing.model_server import ModelServer
    from crewyard_runtime.testing.servers import Broker, Postgres
    from crewyard_runtime.testing.service import Service

# What is used by tests alone is imported in the fixtures: pytest loads this module in every project and run.


class MakeService(Protocol):
    """Makes services for one test, and ends them with it; the arguments are those of `Service`."""

    def __call__(self, **arguments: Any) -> "Service":
        """A service with no process yet, and a database of its own."""


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Postgres"]:
    """A Postgres for the session; a test that stops it starts it again."""
    from crewyard_runtime.testing.servers import Postgres

    with Postgres(tmp_path_factory.mktemp("postgres")) as server:
        yield server


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Broker"]:
    """A broker of the kind that the project chose; a test that stops it starts it again."""
    from crewyard_runtime.settings import ServiceSettings
    from crewyard_runtime.testing.servers import Broker, RabbitMQ, Sqs, Valkey

    kinds: dict[str, type[Broker]] = {"redis": Valkey, "rabbitmq": RabbitMQ, "sqs": Sqs}
    kind = kinds[ServiceSettings.load().broker]
    if not kind.available():
        pytest.skip(kind.why_not())
    with kind(tmp_path_factory.mktemp("broker")) as server:
        yield server


@pytest.fixture(scope="session")
def empty_database(postgres: "Postgres") -> str:
    """The name of a database with all tables and no rows, to be copied."""
    from sqlalchemy import make_url

    from crewyard_runtime.testing.service import new_database

    return str(make_url(new_database(postgres.url)).database)


@pytest.fixture
def memories(
    tmp_path: Path, postgres: "Postgres", empty_database: str, model_server: "ModelServer"
) -> Iterator["Memories"]:
    """The memory that the project has chosen, in which nobody remembers anything yet."""
    from crewyard_runtime.store import Database
    from crewyard_runtime.testing.memories import Memories, project_memory
    from crewyard_runtime.testing.service import new_database

    url = new_database(postgres.url, empty_database)
    with ExitStack() as stack:
        settings = project_memory(stack, url, tmp_path / "memory", model_server.url)
        if settings.memory == "none":
            pytest.skip("this project remembers nothing")
        database = Database(url)
        stack.callback(database.close)
        memories = Memories(settings, database)
        stack.callback(memories.close)
        yield memories


@pytest.fixture(scope="session")
def services(
    tmp_path_factory: pytest.TempPathFactory,
    postgres: "Postgres",
    broker: "Broker",
    empty_database: str,
    model_server: "ModelServer",
) -> MakeService:
    """Makes services on the session's servers, whose model is the model server. Whoever makes one ends it."""
    from crewyard_runtime.testing.service import Service, new_database, variables_of

    def make(variables: dict[str, str] | None = None, **arguments: Any) -> Service:
        model = {"OPENAI_BASE_URL": model_server.url, "OPENAI_API_KEY": "offline"}
        models = {"MODEL_FAST": "openai/gpt-4o-mini", "MODEL_STRONG": "openai/gpt-4o"}
        return Service(
            tmp_path_factory.mktemp("service"),
            new_database(postgres.url, empty_database),
            variables_of(broker),
            model | models | (variables or {}),
            **arguments,
        )

    return make


@pytest.fixture
def make_service(services: MakeService) -> Iterator[MakeService]:
    """Makes services for one test, and ends them with it."""
    with ExitStack() as stack:
        yield lambda *args, **arguments: stack.enter_context(services(*args, **arguments))


@pytest.fixture
def service(make_service: MakeService) -> "Service":
    """A service of the faulty application, with no process yet."""
    return make_service()


@pytest.fixture(scope="session")
def _standing_service(services: MakeService) -> Iterator["Service"]:
    with services() as service:
        service.use_project_memory()
        yield service


@pytest.fixture
def standing_service(_standing_service: "Service") -> "Service":
    """A service of the faulty application for the whole session, with two workers and a gateway.

    Workers that a test has killed are replaced.
    """
    _standing_service.stand(workers=2)
    return _standing_service


@pytest.fixture(scope="session")
def _own_service(services: MakeService, application: "Application") -> Iterator["Service"]:
    from crewyard_runtime.settings import plain
    from crewyard_runtime.testing.plugin import with_examples
    from crewyard_runtime.testing.service import OWN

    settings = plain(with_examples(application.settings))
    fields = application.settings.model_fields
    prefix = str(application.settings.model_config.get("env_prefix", ""))
    needed = {
        str(fields[name].validation_alias or f"{prefix}{name}").upper(): str(value)
        for name, value in settings.items()
        if fields[name].is_required()
    }
    patient = {"LIMITS__RECALL_SECONDS": "20", "LIMITS__REMEMBER_SECONDS": "20"}  # on a busy machine
    with services(variables=needed | patient, program=OWN) as service:
        yield service


@pytest.fixture
def own_service(_own_service: "Service") -> "Service":
    """A service of the project's own application, whose variables that are needed have their examples.

    It has a gateway and two workers, or one where the memory is on a volume; those that a test has killed are replaced.
    """
    _own_service.stand(workers=1 if _own_service.environment["MEMORY"] == "volume" else 2)
    return _own_service
