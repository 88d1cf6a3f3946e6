"""Agent Framework under the runtime: what is built is judged, its turns, tools and model calls held to the limits.

Turns and tools by its own middleware, which each agent of a run is given; model calls at OpenAI's SDK.
"""

from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from agent_framework import (
    Agent,
    AgentContext,
    AgentResponse,
    BaseChatClient,
    ChatContext,
    FileCheckpointStorage,
    FileHistoryProvider,
    FileSessionStore,
    FunctionInvocationContext,
    FunctionTool,
    SupportsAgentRun,
    Workflow,
    WorkflowRunResult,
    agent_middleware,
    chat_middleware,
    function_middleware,
    tool,
)
from agent_framework.openai import OpenAIChatCompletionClient
from openai import AsyncOpenAI

from crewyard_runtime.application import Application
from crewyard_runtime.context import RunContext, active_run
from crewyard_runtime.errors import BuildRefused
from crewyard_runtime.frameworks.code import DESCRIPTION, execute, told
from crewyard_runtime.frameworks.in_loop import InLoop, build_in_loop
from crewyard_runtime.frameworks.made import note_made
from crewyard_runtime.frameworks.messages import task_of
from crewyard_runtime.frameworks.model_calls import hold_model_calls
from crewyard_runtime.frameworks.preload import preload_model_calls
from crewyard_runtime.frameworks.tool_calls import acall_tool
from crewyard_runtime.frameworks.turns import turn_of
from crewyard_runtime.providers import PROVIDERS, split_model
from crewyard_runtime.settings import RuntimeSettings
from crewyard_runtime.tools import ToolFailed

# What must be made anew for each run.
PARTS: tuple[type, ...] = (Agent, Workflow, BaseChatClient, FunctionTool)

# What keeps state on the container's disk.
LOCAL_STORES: tuple[type, ...] = (FileCheckpointStorage, FileHistoryProvider, FileSessionStore)

Next = Callable[[], Awaitable[None]]
ASKS = "a run has no terminal"

preload_model_calls()


def install_hooks() -> None:
    """Give each agent of a run its middleware, and hold model calls, once a process; outside of a run nothing."""
    note_made((Agent, Workflow, BaseChatClient, FunctionTool), _give_middleware)
    hold_model_calls(_unlimited)


def make_llm(run: RunContext, settings: RuntimeSettings, role: str) -> OpenAIChatCompletionClient:
    """A new client for this run, in the run's event loop. Its retries are the SDK's: backoff after 429 and 5xx."""
    model = settings.model(role)
    provider, name = split_model(model)
    key = settings.api_key(model)
    client = AsyncOpenAI(
        api_key=key.get_secret_value() if key else "none",
        base_url=settings.openai_base_url if provider == "openai" else PROVIDERS[provider].base_url,
        timeout=run.limits.model_seconds,
        max_retries=run.limits.model_retries,
    )

    @chat_middleware
    async def set_temperature(context: ChatContext, call_next: Next) -> None:
        context.options = {"temperature": settings.temperature, **(context.options or {})}
        await call_next()

    return OpenAIChatCompletionClient(
        model=name,
        async_client=client,
        middleware=[] if settings.temperature is None else [set_temperature],
        function_invocation_configuration={"max_iterations": run.limits.max_iter, "include_detailed_errors": True},
    )


def make_code_executor(run: RunContext) -> FunctionTool:
    """A tool for agents of this run."""

    @tool(name="execute_code", description=DESCRIPTION)
    def execute_code(code: str, language: str = "python") -> str:
        return told(execute(run, code, language))

    return execute_code


def build(application: Application, run: RunContext) -> InLoop:
    """Call the build function. Raises BuildRefused for what has no limits, and for what cannot be run."""
    install_hooks()
    return build_in_loop(application, run, _unlimited, {"a workflow": Workflow, "an agent": Agent})


def kick_off(built: InLoop, run: RunContext) -> Any:
    """Run a workflow or an agent with the input, or call the function. Raises RunStopped or BuildRefused at a limit."""

    async def work() -> Any:
        return await built.made.run(task_of(run.input))

    result = built.finish(run, work if isinstance(built.made, Workflow | Agent) else built.call(), lambda: _close(run))
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


_SEEN: list[Callable[[str, Any], None]] = []


def watch_handovers(seen: Callable[[str, Any], None], started: Callable[[object], None]) -> None:
    """Call `seen` with a label and the data of each message to an agent, and `started` with each workflow."""
    run: Any = Workflow.run

    def watched(workflow: Workflow, *args: Any, **kwargs: Any) -> Any:
        started(workflow)
        return run(workflow, *args, **kwargs)

    Workflow.run = watched  # type: ignore[method-assign,assignment]
    _SEEN.append(seen)


def _give_middleware(thing: Any) -> None:
    if isinstance(thing, Agent):
        thing.middleware = [_take_turn, _guard_tool, *(thing.middleware or [])]


@agent_middleware
async def _take_turn(context: AgentContext, call_next: Next) -> None:
    name = _name(context.agent)
    for seen in _SEEN:
        for message in context.messages:
            seen(f"the message to {name}", message.to_dict())
    with turn_of(name):
        await call_next()


@function_middleware
async def _guard_tool(context: FunctionInvocationContext, call_next: Next) -> None:
    run = active_run()
    if run is None:
        await call_next()
        return
    try:
        await acall_tool(run, context.function.name, call_next)
    except ToolFailed as error:
        context.result = str(error)


def _name(agent: SupportsAgentRun) -> str:
    return str(agent.name or agent.id)


def _unlimited(thing: object, run: RunContext) -> Iterator[BuildRefused]:
    """A refusal for each limit that a part lacks or exceeds."""
    limits = run.limits
    if isinstance(thing, Workflow) and thing.max_iterations > limits.max_turns:
        yield BuildRefused(
            f"The workflow {thing.name!r} has max_iterations={thing.max_iterations}, above the limit "
            f"max_turns={limits.max_turns}: build it with WorkflowBuilder(max_iterations=run.limits.max_turns, ...)."
        )
    elif isinstance(thing, FunctionTool) and thing.approval_mode == "always_require":
        yield BuildRefused(
            f"The tool {thing.name!r} asks a human for approval, and {ASKS}: build it without approval_mode."
        )
    elif isinstance(thing, BaseChatClient):
        rounds = getattr(thing, "function_invocation_configuration", {}).get("max_iterations", 0)
        if rounds > limits.max_iter:
            yield BuildRefused(
                f"A model client makes up to {rounds} calls for one answer (max_iterations), above the limit "
                f'max_iter={limits.max_iter}: build it with run.llm("fast") or run.llm("strong").'
            )
