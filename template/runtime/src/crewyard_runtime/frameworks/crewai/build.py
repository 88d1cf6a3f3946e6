"""From an application to its result: the model client, the crew or flow, its kick-off and its output."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from crewai import LLM, BaseLLM, Crew, Flow, Task
from crewai.agents.agent_builder.base_agent import BaseAgent
from crewai.crews.crew_output import CrewOutput
from crewai.events import crewai_event_bus
from crewai.flow.persistence import SQLiteFlowPersistence
from crewai.project.utils import cache as memoized
from crewai.tools.base_tool import BaseTool
from crewai.tools.structured_tool import CrewStructuredTool

from crewyard_runtime.application import Application
from crewyard_runtime.context import RunContext
from crewyard_runtime.errors import BuildRefused, MemoryOnDisk
from crewyard_runtime.frameworks.crewai.hooks import install_hooks
from crewyard_runtime.frameworks.crewai.limits import unlimited
from crewyard_runtime.providers import split_model
from crewyard_runtime.settings import RuntimeSettings

# What must be made anew for each run.
PARTS: tuple[type, ...] = (BaseAgent, Task, Crew, Flow, BaseLLM, BaseTool, CrewStructuredTool)

# How an agent is told to answer in a model, whose name is to be filled in.
TYPED = "output_pydantic={}"

# What keeps state on the container's disk.
LOCAL_STORES: tuple[type, ...] = (SQLiteFlowPersistence,)

# A flow would open a store on the container's disk for itself, with a library that the project leaves out (lancedb).
Flow._skip_auto_memory = True  # type: ignore[attr-defined]


def make_llm(run: RunContext, settings: RuntimeSettings, role: str) -> LLM:
    """A new client for this run: a shared one would add up the tokens of several runs.

    Its retries are the provider SDK's: exponential backoff with jitter after 429, 5xx and a broken connection, and the
    server's Retry-After where it gives one.
    """
    model = settings.model(role)
    key = settings.api_key(model)
    return LLM(
        model=model if "/" in model else f"openai/{model}",
        api_key=key.get_secret_value() if key else None,
        base_url=settings.openai_base_url if split_model(model)[0] == "openai" else None,
        temperature=settings.temperature,
        timeout=run.limits.model_seconds,
        max_retries=run.limits.model_retries,
    )


def build(application: Application, run: RunContext) -> Crew | Flow[Any]:
    """Call the build function. Raises BuildRefused for an agent without limits, and for neither crew nor flow."""
    install_hooks()
    # What @agent and @task of a @CrewBase class have made is kept by `id(self)` for the life of the process, so that a
    # later instance at the same address gets an earlier run's agents.
    memoized._cache.clear()
    with _explained():
        built: Crew | Flow[Any] = application.load_build()(run)
    if isinstance(built, Crew):
        if problems := list(unlimited(built, run.limits)):
            raise BuildRefused(" ".join(problems))
    elif not isinstance(built, Flow):
        msg = f"{application.build} returned a {type(built).__name__}: return a Crew or a Flow."
        raise BuildRefused(msg)
    return built


def kick_off(built: Crew | Flow[Any], run: RunContext) -> Any:
    """Run a crew or flow with the run's input. Raises RunStopped or BuildRefused when a limit ended it."""
    dumped = run.input.model_dump(mode="json")
    inputs = dumped if isinstance(dumped, dict) else {"input": dumped}
    if isinstance(built, Flow):
        built.suppress_flow_events = True  # else it draws panels
    try:
        with _explained():
            result = built.kickoff(inputs=inputs)
    except Exception as error:
        if run.stopped:
            raise run.stopped from error
        raise
    finally:
        crewai_event_bus.flush()
    if run.stopped:
        raise run.stopped
    return result


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name != "lancedb":
            raise
        msg = "CrewAI's own memory is on the container's disk, and its library is left out: build without memory=True."
        raise MemoryOnDisk(msg) from error


def plain_result(result: Any) -> Any:
    """A crew's output as its Pydantic model, dict or text; what a flow returned as it is."""
    if isinstance(result, CrewOutput):
        return result.pydantic or result.json_dict or result.raw
    return result
