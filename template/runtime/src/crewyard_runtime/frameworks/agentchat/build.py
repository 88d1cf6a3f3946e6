"""From an application to its result: the model client, the team, its run and its last words."""

from typing import Any

from autogen_agentchat.agents import BaseChatAgent
from autogen_agentchat.base import ChatAgent, TaskResult, Team
from autogen_agentchat.messages import StructuredMessage
from autogen_agentchat.teams import BaseGroupChat
from autogen_core.models import ModelFamily, ModelInfo
from autogen_core.tools import BaseTool
from autogen_ext.models.openai import BaseOpenAIChatCompletionClient, OpenAIChatCompletionClient

from crewyard_runtime.application import Application
from crewyard_runtime.context import RunContext
from crewyard_runtime.errors import text_of
from crewyard_runtime.frameworks.agentchat.hooks import install_hooks
from crewyard_runtime.frameworks.agentchat.limits import unlimited
from crewyard_runtime.frameworks.endpoint import endpoint_of
from crewyard_runtime.frameworks.in_loop import InLoop, build_in_loop
from crewyard_runtime.frameworks.messages import task_of
from crewyard_runtime.settings import RuntimeSettings

# What must be made anew for each run.
PARTS: tuple[type, ...] = (BaseChatAgent, BaseGroupChat, BaseOpenAIChatCompletionClient, BaseTool)

# How an agent is told to answer in a model, whose name is to be filled in.
TYPED = "output_content_type={}"

# What keeps state on the container's disk: nothing of its own does.
LOCAL_STORES: tuple[type, ...] = ()

# The library does not know newer models by name; what it asks about them holds for each that can call tools.
ANY_MODEL = ModelInfo(
    vision=False,
    function_calling=True,
    json_output=True,
    structured_output=True,
    family=ModelFamily.UNKNOWN,
    multiple_system_messages=True,
)


def make_llm(run: RunContext, settings: RuntimeSettings, role: str) -> OpenAIChatCompletionClient:
    """A new client for this run, in the run's event loop. Its retries are the SDK's: backoff after 429 and 5xx."""
    endpoint = endpoint_of(settings, role)
    options: dict[str, Any] = {"base_url": endpoint.base_url, "temperature": settings.temperature}
    return OpenAIChatCompletionClient(
        model=endpoint.model,
        api_key=endpoint.api_key,
        timeout=run.limits.model_seconds,
        max_retries=run.limits.model_retries,
        model_info=ANY_MODEL,
        **{name: value for name, value in options.items() if value is not None},
    )


def build(application: Application, run: RunContext) -> InLoop:
    """Call the build function. Raises BuildRefused for what has no limits, and for what cannot be run."""
    install_hooks()
    return build_in_loop(application, run, unlimited, {"a team": Team, "an agent": ChatAgent})


def kick_off(built: InLoop, run: RunContext) -> Any:
    """Run a team with the input as its task, or call the function. Raises RunStopped or BuildRefused at a limit."""

    async def work() -> Any:
        result = await built.made.run(task=task_of(run.input))
        run.ended = result.stop_reason or ""
        return result

    failure = None
    try:
        return built.finish(
            run, work if isinstance(built.made, ChatAgent | Team) else built.call(), lambda: _close(run)
        )
    except RuntimeError as error:
        failure = error
    # A team makes a text of what an agent has raised, and raises that.
    raise next((each for each in run.raised if text_of(each) in text_of(failure)), failure)


async def _close(run: RunContext) -> None:
    for client in run.made:
        if isinstance(client, BaseOpenAIChatCompletionClient):
            await client.close()


def plain_result(result: Any) -> Any:
    """Of a team's result what its last message carries; what a function returned as it is."""
    if not isinstance(result, TaskResult):
        return result
    last = result.messages[-1] if result.messages else None
    if isinstance(last, StructuredMessage):
        return last.content
    return last.to_text() if last is not None else ""
