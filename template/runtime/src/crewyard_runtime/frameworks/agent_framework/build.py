"""From an application to its result: the model client, the workflow, its run and its output."""

from collections.abc import Awaitable, Callable
from typing import Any

from agent_framework import (
    Agent,
    AgentResponse,
    BaseChatClient,
    ChatContext,
    FileCheckpointStorage,
    FileHistoryProvider,
    FileSessionStore,
    FunctionTool,
    Workflow,
    WorkflowConvergenceException,
    WorkflowRunResult,
    chat_middleware,
)
from agent_framework.openai import OpenAIChatCompletionClient
from openai import AsyncOpenAI

from crewyard_runtime.application import Application
from crewyard_runtime.context import RunContext
from crewyard_runtime.errors import BuildRefused, RunStopped
from crewyard_runtime.frameworks.agent_framework.hooks import install_hooks
from crewyard_runtime.frameworks.agent_framework.limits import ASKS, unlimited
from crewyard_runtime.frameworks.endpoint import endpoint_of
from crewyard_runtime.frameworks.in_loop import InLoop, build_in_loop
from crewyard_runtime.frameworks.messages import task_of
from crewyard_runtime.frameworks.turns import END
from crewyard_runtime.settings import RuntimeSettings

# What must be made anew for each run.
PARTS: tuple[type, ...] = (Agent, Workflow, BaseChatClient, FunctionTool)

# How an agent is told to answer in a model, whose name is to be filled in.
TYPED = 'default_options={{"response_format": {}}}'

# What keeps state on the container's disk.
LOCAL_STORES: tuple[type, ...] = (FileCheckpointStorage, FileHistoryProvider, FileSessionStore)


def make_llm(run: RunContext, settings: RuntimeSettings, role: str) -> OpenAIChatCompletionClient:
    """A new client for this run, in the run's event loop. Its retries are the SDK's: backoff after 429 and 5xx."""
    endpoint = endpoint_of(settings, role)
    client = AsyncOpenAI(
        api_key=endpoint.api_key,
        base_url=endpoint.base_url,
        timeout=run.limits.model_seconds,
        max_retries=run.limits.model_retries,
    )

    @chat_middleware
    async def set_temperature(context: ChatContext, call_next: Callable[[], Awaitable[None]]) -> None:
        context.options = {"temperature": settings.temperature, **(context.options or {})}
        await call_next()

    return OpenAIChatCompletionClient(
        model=endpoint.model,
        async_client=client,
        middleware=[] if settings.temperature is None else [set_temperature],
        function_invocation_configuration={"max_iterations": run.limits.max_iter, "include_detailed_errors": True},
    )


def build(application: Application, run: RunContext) -> InLoop:
    """Call the build function. Raises BuildRefused for what has no limits, and for what cannot be run."""
    install_hooks()
    return build_in_loop(application, run, unlimited, {"a workflow": Workflow, "an agent": Agent})


def kick_off(built: InLoop, run: RunContext) -> Any:
    """Run a workflow or an agent with the input, or call the function. Raises RunStopped or BuildRefused at a limit."""

    async def work() -> Any:
        return await built.made.run(task_of(run.input))

    try:
        result = built.finish(
            run, work if isinstance(built.made, Workflow | Agent) else built.call(), lambda: _close(run)
        )
    except WorkflowConvergenceException as error:
        raise RunStopped(f"A workflow had no end after its max_iterations: {error}. {END}") from error
    if isinstance(result, WorkflowRunResult) and result.get_request_info_events():
        msg = f"The workflow asks a human by request_info, and {ASKS}: leave it out."
        raise BuildRefused(msg)
    return result


async def _close(run: RunContext) -> None:
    for client in run.made:
        if isinstance(client, OpenAIChatCompletionClient):
            await client.client.close()


def plain_result(result: Any) -> Any:
    """Of a workflow its last output, of an agent its value or text; what a function returned as it is."""
    if isinstance(result, WorkflowRunResult):
        outputs = result.get_outputs()
        result = outputs[-1] if outputs else None
    if isinstance(result, AgentResponse):
        return result.value if result.value is not None else result.text
    return result
