"""The wrappers that hold the limits while a team runs; outside of a run of ours they do nothing."""

from collections.abc import AsyncIterator, Callable
from functools import wraps
from typing import Any

from autogen_agentchat.agents import BaseChatAgent
from autogen_agentchat.messages import HandoffMessage
from autogen_agentchat.teams import BaseGroupChat
from autogen_agentchat.teams._group_chat._events import SerializableException
from autogen_agentchat.tools import AgentTool, TeamTool
from autogen_core.code_executor import CodeExecutor
from autogen_core.tools import BaseTool
from autogen_ext.models.openai import BaseOpenAIChatCompletionClient

from crewyard_runtime.context import active_run
from crewyard_runtime.errors import RunStopped
from crewyard_runtime.frameworks.agentchat.limits import unlimited
from crewyard_runtime.frameworks.made import note_made
from crewyard_runtime.frameworks.model_calls import hold_model_calls
from crewyard_runtime.frameworks.tool_calls import acall_tool
from crewyard_runtime.frameworks.turns import turn_of

_as_text = SerializableException.from_exception
_SEEN: list[Callable[[str, Any], None]] = []


def install_hooks() -> None:
    """Wrap what a run goes through, once a process; outside of a run it does as before."""
    note_made((BaseChatAgent, BaseGroupChat, BaseOpenAIChatCompletionClient), _take_turns)
    CodeExecutor.__new__ = _note_executor  # type: ignore[method-assign,assignment]
    note_made((HandoffMessage,), _note_handoff)
    hold_model_calls(unlimited)
    SerializableException.from_exception = classmethod(_kept)  # type: ignore[assignment,method-assign]
    if not hasattr(BaseTool.run_json, "guarded_by_crewyard"):
        BaseTool.run_json = _guarded(BaseTool.run_json)  # type: ignore[method-assign]


def watch_handovers(seen: Callable[[str, Any], None], started: Callable[[object], None]) -> None:
    """Call `seen` with a label and the data of each message between agents, and `started` with what is run."""
    run_stream: Any = BaseGroupChat.run_stream

    def watched(team: BaseGroupChat, **arguments: Any) -> Any:
        started(team)
        return run_stream(team, **arguments)

    BaseGroupChat.run_stream = watched  # type: ignore[method-assign,assignment]
    _SEEN.append(seen)


def _kept(kind: type[SerializableException], error: Exception) -> SerializableException:
    """Keep the error of an agent beside the text that is made of it."""
    if run := active_run():
        run.raised.append(error)
    return _as_text(error)


def _take_turns(thing: Any) -> None:
    if not isinstance(thing, BaseChatAgent):
        return
    speak = thing.on_messages_stream

    async def turn(messages: Any, cancellation_token: Any) -> AsyncIterator[Any]:
        for seen in _SEEN:
            for message in messages:
                seen(f"the message of {message.source} to {thing.name}", message)
        with turn_of(thing.name):
            async for each in speak(messages, cancellation_token):
                yield each

    thing.on_messages_stream = turn  # type: ignore[method-assign,assignment]


def _note_executor(kind: type[CodeExecutor], *args: Any, **kwargs: Any) -> CodeExecutor:
    """Executors do not call their base's __init__, and importing theirs needs libraries that a project may lack."""
    made = object.__new__(kind)
    if run := active_run():
        run.made.append(made)
    return made


def _note_handoff(message: HandoffMessage) -> None:
    run = active_run()
    if run is None:
        return
    run.emit("delegated", agent=message.source, to=message.target)
    if reason := run.delegations.record(message.source, message.target):
        run.stop(RunStopped(reason))


def _guarded(run_json: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(run_json)
    async def guarded(tool: BaseTool[Any, Any], *args: Any, **kwargs: Any) -> Any:
        run = active_run()
        if run is None or isinstance(tool, AgentTool | TeamTool):  # agents have limits of their own
            return await run_json(tool, *args, **kwargs)
        return await acall_tool(run, tool.name, run_json, tool, *args, **kwargs)

    guarded.guarded_by_crewyard = True  # type: ignore[attr-defined]
    return guarded
