"""The wrappers that hold the limits while agents talk; outside of a run of ours they do nothing."""

import asyncio
import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any

from autogen import ConversableAgent, GroupChat, GroupChatManager, OpenAIWrapper

from crewyard_runtime.context import active_run
from crewyard_runtime.frameworks.autogen.limits import UNASKED, unlimited
from crewyard_runtime.frameworks.made import note_made
from crewyard_runtime.frameworks.model_calls import hold_model_calls
from crewyard_runtime.frameworks.tool_calls import acall_tool, call_tool
from crewyard_runtime.frameworks.turns import turn_of

_SEEN: list[Callable[[str, Any], None]] = []
_STARTED: list[Callable[[object], None]] = []


def install_hooks() -> None:
    """Wrap what a run goes through, once a process; outside of a run it does as before."""
    note_made((ConversableAgent, GroupChat, OpenAIWrapper))
    hold_model_calls(unlimited)
    if hasattr(ConversableAgent.generate_reply, "held_by_crewyard"):
        return
    agent: Any = ConversableAgent
    agent.generate_reply, agent.a_generate_reply = _turn(agent.generate_reply), _async_turn(agent.a_generate_reply)
    agent.execute_function = _guarded(agent.execute_function)
    agent.a_execute_function = _async_guarded(agent.a_execute_function)


def watch_handovers(seen: Callable[[str, Any], None], started: Callable[[object], None]) -> None:
    """Call `seen` with a label and the data of each turn, and `started` with each group chat that is begun."""
    _SEEN.append(seen)
    _STARTED.append(started)


def _watch(agent: ConversableAgent, messages: Any, sender: Any) -> None:
    for seen in _SEEN:
        given = messages if messages is not None else agent.chat_messages[sender][-1:]
        seen(f"the messages to {agent.name}", given)
        seen(f"the context variables of {agent.name}", agent.context_variables.data)


def _speaks(agent: ConversableAgent) -> bool:
    """Whether a reply of this agent is a turn; a manager lets others speak."""
    if isinstance(agent, GroupChatManager):
        for begun in _STARTED:
            begun(agent)
        return False
    return agent.name not in UNASKED


def _turn(reply: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(reply)
    def turn(agent: Any, messages: Any = None, sender: Any = None, *args: Any, **kwargs: Any) -> Any:
        if active_run() is None or not _speaks(agent):
            return reply(agent, messages, sender, *args, **kwargs)
        _watch(agent, messages, sender)
        with turn_of(agent.name):
            return reply(agent, messages, sender, *args, **kwargs)

    turn.held_by_crewyard = True  # type: ignore[attr-defined]
    return turn


def _async_turn(reply: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(reply)
    async def turn(agent: Any, messages: Any = None, sender: Any = None, *args: Any, **kwargs: Any) -> Any:
        if active_run() is None or not _speaks(agent):
            return await reply(agent, messages, sender, *args, **kwargs)
        _watch(agent, messages, sender)
        with turn_of(agent.name):
            return await reply(agent, messages, sender, *args, **kwargs)

    return turn


def _guarded(execute: Callable[..., Any]) -> Callable[..., Any]:
    """Its function goes through the guard for the time of the call: it is looked up inside, by its name."""

    @wraps(execute)
    def guarded(agent: Any, call: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        run, name = active_run(), str(call.get("name", ""))
        function = agent._function_map.get(name)
        if run is None or function is None:
            return execute(agent, call, *args, **kwargs)

        def through(**given: Any) -> Any:
            return call_tool(run, name, function, **given)

        agent._function_map[name] = through
        try:
            return execute(agent, call, *args, **kwargs)
        finally:
            agent._function_map[name] = function

    return guarded


def _async_guarded(execute: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(execute)
    async def guarded(agent: Any, call: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        run, name = active_run(), str(call.get("name", ""))
        function = agent._function_map.get(name)
        if run is None or function is None:
            return await execute(agent, call, *args, **kwargs)

        async def through(**given: Any) -> Any:
            work = function if inspect.iscoroutinefunction(function) else _in_thread(function)
            return await acall_tool(run, name, work, **given)

        agent._function_map[name] = through
        try:
            return await execute(agent, call, *args, **kwargs)
        finally:
            agent._function_map[name] = function

    return guarded


def _in_thread(function: Callable[..., Any]) -> Callable[..., Any]:
    async def work(**given: Any) -> Any:
        return await asyncio.to_thread(function, **given)

    return work
