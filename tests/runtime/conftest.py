"""Fixtures of the runtime's tests: a model server, settings that point to it, a runner for misbehaving crews."""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.forkserver import _forkserver
from pathlib import Path
from typing import Any

import pytest
from crewyard_runtime import Application, RunLimits
from crewyard_runtime.execution import Outcome, Runner, RunRequest
from crewyard_runtime.settings import RuntimeSettings
from crewyard_runtime.testing.model_server import ModelServer
from pydantic import SecretStr
from runtime import crews

# The fork server imports the crews, and it inherits no sys.path.
os.environ["PYTHONPATH"] = str(Path(__file__).parent.parent)
# Mem0 would report to its makers and write into the home directory; `load_backend` says so, where nobody imports it by
# its name.
os.environ["MEM0_TELEMETRY"] = "False"
os.environ["MEM0_DIR"] = tempfile.mkdtemp(prefix="mem0-")

Run = Callable[..., Outcome]
ALL = [crews.works, crews.strict, crews.nothing, crews.badly, crews.memory, crews.planning]


@contextmanager
def own_fork_server() -> Iterator[None]:
    """For runs of another framework than CrewAI: a process has one fork server, which imports what it is first told."""
    _forkserver._stop()  # type: ignore[attr-defined]
    try:
        yield
    finally:
        _forkserver._stop()  # type: ignore[attr-defined]


@pytest.fixture(scope="session")
def shared_server() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


@pytest.fixture
def server(shared_server: ModelServer) -> Iterator[ModelServer]:
    """A model server that remembers nothing of the test before."""
    shared_server.clear()
    yield shared_server
    shared_server.clear()


@pytest.fixture
def settings(server: ModelServer, tmp_path: Path) -> RuntimeSettings:
    """Settings that send runs to the model server."""
    return RuntimeSettings(
        openai_base_url=server.url,
        openai_api_key=SecretStr("sk-of-the-test"),
        model_fast="openai/gpt-4o-mini",
        model_strong="openai/gpt-4o",
        writable_dir=tmp_path / "writable",
    )


@pytest.fixture
def run(settings: RuntimeSettings) -> Run:
    """Do one run of a misbehaving crew and give its outcome; `events` collects what it reported."""

    def do(
        mode: str = "work",
        application: Application = crews.works,
        events: list[tuple[str, dict[str, Any]]] | None = None,
        with_tools: bool = True,
        code_execution: str = "none",
        **limits: Any,
    ) -> Outcome:
        bounded = settings.model_copy(update={"limits": RunLimits(**limits), "code_execution": code_execution})
        runner = Runner(bounded, ALL)
        runner.start()
        request = RunRequest(
            run_id="r1", input={"mode": mode}, settings={}, runtime={}, with_tools=with_tools, user_id="u1"
        )
        collected = events if events is not None else []
        return runner.run(application, request, lambda run_id, event, data: collected.append((event, data)))

    return do
