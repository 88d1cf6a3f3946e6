"""The pytest plugin of a project: fixtures that find its applications and run them against the model server."""

import os
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from crewyard_runtime.application import Application, find_applications
from crewyard_runtime.execution import Outcome, Runner, RunRequest
from crewyard_runtime.settings import ApplicationSettings, RuntimeSettings, plain
from crewyard_runtime.testing.inputs import marked_inputs
from crewyard_runtime.testing.model_server import ModelServer
from crewyard_runtime.testing.probe import ProbeReport, ProbeRequest, probe

PROBE_SECONDS = 240
IN_A_ROW = 10  # runs
RUN_SECONDS = 60  # the deadline of a run here, where the model answers at once
# Of a call in the probe: one that hangs must not hold up the tests. A lost packet to a name server costs 5 seconds.
TOOL_SECONDS = 12
KEYS = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "OPENROUTER_API_KEY", "DEEPSEEK_API_KEY")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that takes `application` runs once for each application of the project."""
    given = [str(mark.args[0]) for mark in metafunc.definition.iter_markers("parametrize")]
    if "application" in metafunc.fixturenames and not any("application" in names for names in given):
        found = find_applications()
        metafunc.parametrize("application", list(found.values()), ids=list(found), scope="session")


@pytest.fixture(scope="session", autouse=True)
def _no_secret_of_this_machine() -> Iterator[None]:
    """Tests read no file of secrets and ask no manager: what they need is made up, or a variable."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SECRETS", "environment")
        yield


@pytest.fixture(scope="session")
def model_server() -> Iterator[ModelServer]:
    """A model server for the whole session; a test that tells it to fail clears it again."""
    with ModelServer() as server:
        yield server


@pytest.fixture
def faults(model_server: ModelServer) -> Iterator[ModelServer]:
    """The model server, with what it was told to do forgotten afterwards."""
    yield model_server
    model_server.clear()


@pytest.fixture(scope="session")
def application_settings(application: Application) -> ApplicationSettings:
    """The application's settings, with examples in place of the variables that are not set here."""
    return with_examples(application.settings)


@pytest.fixture(scope="session")
def runtime_settings(model_server: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> RuntimeSettings:
    """The project's settings, with the model server as the provider."""
    return RuntimeSettings.load(
        openai_base_url=model_server.url,
        openai_api_key=f"offline-{secrets.token_hex(8)}",
        model_fast="openai/gpt-4o-mini",
        model_strong="openai/gpt-4o",
        writable_dir=tmp_path_factory.mktemp("writable"),
    )


@dataclass
class Runs:
    """Runs one application, each run in its own process, as a worker does."""

    application: Application
    settings: RuntimeSettings
    application_settings: ApplicationSettings

    def __call__(self, inputs: list[Any], parallel: int = 1, **limits: Any) -> list[Outcome]:
        """The outcomes of the inputs, in their order; `limits` changes limits of these runs."""
        settings = _with_limits(self.settings, **limits)
        runner = Runner(settings, list(find_applications().values()))
        runner.start()
        with ThreadPoolExecutor(parallel) as pool:
            return list(pool.map(lambda pair: self._one(runner, *pair), enumerate(inputs)))

    def _one(self, runner: Runner, number: int, data: Any) -> Outcome:
        request = RunRequest(
            run_id=f"{os.getpid()}-{id(runner)}-{number}",
            input=data,
            settings=plain(self.application_settings),
            runtime={},
        )
        return runner.run(self.application, request)


@pytest.fixture(scope="session")
def runs(
    application: Application, runtime_settings: RuntimeSettings, application_settings: ApplicationSettings
) -> Runs:
    """Runs of the application; the fork server is up, so that a test measures its runs alone."""
    Runner(runtime_settings, list(find_applications().values())).start()
    return Runs(application, runtime_settings, application_settings)


def _with_limits(settings: RuntimeSettings, **limits: Any) -> RuntimeSettings:
    seconds = min(settings.limits.deadline_seconds, RUN_SECONDS)
    changed = settings.limits.model_copy(update={"deadline_seconds": seconds, **limits})
    return settings.model_copy(update={"limits": changed})


@dataclass
class Probing:
    """Observes one application in one fresh process."""

    application: Application
    settings: RuntimeSettings
    application_settings: ApplicationSettings

    def __call__(self, inputs: list[Any], marks: list[str] | None = None) -> ProbeReport:
        """What was seen while the application was imported and ran the inputs one after the other.

        marks: texts that occur in the inputs alone.
        """
        settings = _with_limits(self.settings, tool_seconds=TOOL_SECONDS)
        request = ProbeRequest(
            inputs=inputs, marks=marks or [], settings=plain(self.application_settings), runtime=plain(settings)
        )
        environment = {name: value for name, value in os.environ.items() if name not in KEYS}
        return probe(self.application, request, environment, PROBE_SECONDS)


@pytest.fixture(scope="session")
def probing(
    application: Application, runtime_settings: RuntimeSettings, application_settings: ApplicationSettings
) -> Probing:
    """A probe for the application."""
    return Probing(application, runtime_settings, application_settings)


@dataclass
class Observed:
    """What an observed process showed. inputs: pairs of a canary and the input that carries it, in the order of runs.

    prompts: the bodies of all model requests, as text.
    """

    inputs: list[tuple[str | None, Any]]
    report: ProbeReport
    prompts: list[str]

    @property
    def canaries(self) -> list[str | None]:
        """The canary of each run."""
        return [canary for canary, _ in self.inputs]


@pytest.fixture(scope="session")
def observed(application: Application, probing: Probing, model_server: ModelServer) -> Observed:
    """The application imported and run many times in a row in one process, as on a platform that keeps it."""
    inputs = marked_inputs(application, IN_A_ROW)
    before = len(model_server.requests)
    report = probing([data for _, data in inputs], marks=[canary for canary, _ in inputs if canary])
    return Observed(inputs, report, [str(request["body"]) for request in model_server.requests[before:]])


def with_examples(model: type[ApplicationSettings]) -> ApplicationSettings:
    """The team's settings; a missing variable gets its first example, or a value of its type."""
    try:
        return model.load()
    except ValidationError as error:
        missing = {str(item["loc"][0]) for item in error.errors() if item["type"] == "missing"}
    values: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        if field.is_required() and missing & {name, str(field.validation_alias)}:
            values[name] = field.examples[0] if field.examples else _any_value(field.annotation)
    try:
        return model.load(**values)
    except ValidationError as error:
        named = ", ".join(sorted({str(item["loc"][0]) for item in error.errors()}))
        msg = (
            f"The tests need values for {named} of {model.__name__}: give the field examples=[...] or set the variable."
        )
        raise pytest.UsageError(msg) from error


def _any_value(kind: Any) -> Any:
    return {int: 1, float: 1.0, bool: True, Path: Path("/nowhere")}.get(
        kind, SecretStr(secrets.token_hex(16)) if kind is SecretStr else "x"
    )
