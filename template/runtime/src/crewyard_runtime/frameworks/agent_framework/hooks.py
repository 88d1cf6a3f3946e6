"""The middleware that holds the limits while agents work; outside of a run of ours it does nothing."""

from collections.abc import Awaitable, Callable
from typing import Any

from agent_framework import (
    Agent,
    AgentContext,
    BaseChatClient,
    FunctionInvocationContext,
    FunctionTool,
    SupportsAgentRun,
    Workflow,
    agent_middleware,
    function_middleware,
)

from crewyard_runtime.context import active_run
from crewyard_runtime.frameworks.agent_framework.limits import unlimited
from crewyard_runtime.frameworks.made import note_made
from crewyard_runtime.frameworks.model_calls import hold_model_calls
from crewyard_runtime.frameworks.tool_calls import acall_tool
from crewyard_runtime.frameworks.turns import turn_of
from crewyard_runtime.tools import ToolFailed

Next = Callable[[], Awaitable[None]]
_SEEN: list[Callable[[str, Any], None]] = []


def install_hooks() -> None:
    """Give each agent of a run its middleware, and hold model calls, once a process; outside of a run nothing."""
    note_made((Agent, Workflow, BaseChatClient, FunctionTool), _give_middleware)
    hold_model_calls(unlimited)


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
