"""AutoGen's classic API under the runtime: what is built is judged; turns, tools and model calls keep to the limits.

It has no hook for a whole process, so its own methods are wrapped (autogen 0.14).
"""

import asyncio
import inspect
import logging
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

from autogen import ConversableAgent, GroupChat, GroupChatManager, LLMConfig, OpenAIWrapper
from autogen.agentchat.chat import ChatResult
from autogen.coding import CodeBlock, CodeResult, MarkdownCodeExtractor
from autogen.io import IOStream
from autogen.tools import Tool

from crewyard_runtime.application import Application
from crewyard_runtime.context import RunContext, active_run
from crewyard_runtime.errors import BuildRefused, MemoryOnDisk, OutsideSandbox
from crewyard_runtime.frameworks.code import execute_blocks
from crewyard_runtime.frameworks.made import note_made, refuse_made
from crewyard_runtime.frameworks.messages import task_of
from crewyard_runtime.frameworks.model_calls import hold_model_calls
from crewyard_runtime.frameworks.preload import preload_model_calls
from crewyard_runtime.frameworks.tool_calls import acall_tool, call_tool
from crewyard_runtime.frameworks.turns import turn_of
from crewyard_runtime.providers import PROVIDERS, split_model
from crewyard_runtime.settings import RuntimeSettings

# What must be made anew for each run.
PARTS: tuple[type, ...] = (ConversableAgent, GroupChat, OpenAIWrapper, Tool)

# What keeps state on the container's disk: a cache does, and is refused where a model is configured with one.
LOCAL_STORES: tuple[type, ...] = ()

# Agents that a group chat makes to choose a speaker by a model; they take no turn of their own.
CHOOSING = ("checking_agent", "speaker_selection_agent")

# It warns for each call whose price it does not know; the runtime has prices of its own.
logging.getLogger("autogen.oai.client").setLevel(logging.ERROR)

preload_model_calls()


class _Silence:
    """Takes the place of the terminal: a chat is not printed, because logs are read by others than its user."""

    def print(self, *objects: Any, sep: str = " ", end: str = "\n", flush: bool = False) -> None:
        """Nothing."""

    def send(self, message: Any) -> None:
        """Nothing."""

    def input(self, prompt: str = "", *, password: bool = False) -> str:
        """Raises BuildRefused."""
        msg = 'An agent asks a human, and a run has no terminal: build it with human_input_mode="NEVER".'
        raise BuildRefused(msg)


def install_hooks() -> None:
    """Wrap what a run goes through, once a process; outside of a run it does as before."""
    note_made((ConversableAgent, GroupChat, OpenAIWrapper))
    hold_model_calls(_unlimited)
    if hasattr(ConversableAgent.generate_reply, "held_by_crewyard"):
        return
    agent: Any = ConversableAgent
    agent.generate_reply, agent.a_generate_reply = _turn(agent.generate_reply), _async_turn(agent.a_generate_reply)
    agent.execute_function = _guarded(agent.execute_function)
    agent.a_execute_function = _async_guarded(agent.a_execute_function)


def make_llm(run: RunContext, settings: RuntimeSettings, role: str) -> LLMConfig:
    """A configuration for this run. The client that an agent makes of it tries again after 429 and 5xx."""
    model = settings.model(role)
    provider, name = split_model(model)
    key = settings.api_key(model)
    entry: dict[str, Any] = {
        "api_type": "openai",
        "model": name,
        "api_key": key.get_secret_value() if key else "none",
        "timeout": run.limits.model_seconds,
        "max_retries": run.limits.model_retries,
    }
    if base_url := settings.openai_base_url if provider == "openai" else PROVIDERS[provider].base_url:
        entry["base_url"] = base_url
    if settings.temperature is not None:
        entry["temperature"] = settings.temperature
    return LLMConfig(entry)


class SandboxExecutor:
    """AutoGen's CodeExecutor on the sandbox of a run: code_execution_config={"executor": run.code_executor()}."""

    def __init__(self, run: RunContext) -> None:
        self._run = run

    @property
    def code_extractor(self) -> MarkdownCodeExtractor:
        """What finds code in a message."""
        return MarkdownCodeExtractor()

    def execute_code_blocks(self, code_blocks: list[CodeBlock]) -> CodeResult:
        """Execute one after the other, until one fails."""
        execution = execute_blocks(self._run, [(block.language, block.code) for block in code_blocks])
        return CodeResult(exit_code=execution.exit_code, output=execution.output)

    def restart(self) -> None:
        """Its files stay until the end of the run."""


def make_code_executor(run: RunContext) -> SandboxExecutor:
    """A code executor for this run."""
    return SandboxExecutor(run)


def build(application: Application, run: RunContext) -> Any:
    """Call the build function. Raises BuildRefused for what has no limits, and for what cannot be run."""
    install_hooks()
    with IOStream.set_default(_Silence()):
        built = application.load_build()(run)
    refuse_made(run, _unlimited)
    if not isinstance(built, ConversableAgent) and not callable(built):
        msg = (
            f"{application.build} returned a {type(built).__name__}: return a GroupChatManager, an agent, or a "
            "function without arguments."
        )
        raise BuildRefused(msg)
    return built


def kick_off(built: Any, run: RunContext) -> Any:
    """Start a group chat or an agent with the input, or call the function. Raises RunStopped or BuildRefused."""
    try:
        with IOStream.set_default(_Silence()):
            result = _work(built, run)
    except Exception as error:
        if run.stopped:
            raise run.stopped from error
        raise
    finally:
        _close(run)
    if run.stopped:
        raise run.stopped
    return result


def _work(built: Any, run: RunContext) -> Any:
    if isinstance(built, ConversableAgent):
        for seen in _STARTED:
            seen(built)
        task = task_of(run.input)
        if isinstance(built, GroupChatManager):
            first: Any = built.groupchat.agents[0]
            return first.initiate_chat(built, message=task)
        return built.generate_reply(messages=[{"role": "user", "content": task}])
    result = built()
    return asyncio.run(_awaited(result)) if inspect.isawaitable(result) else result


async def _awaited(result: Any) -> Any:
    return await result


def _close(run: RunContext) -> None:
    for wrapper in run.made:
        if isinstance(wrapper, OpenAIWrapper):
            for client in wrapper._clients:
                if (of_sdk := getattr(client, "_oai_client", None)) is not None:
                    of_sdk.close()


def plain_result(result: Any) -> Any:
    """Of a chat what was said last; what a function returned as it is."""
    if isinstance(result, ChatResult):
        result = result.chat_history[-1] if result.chat_history else ""
    if isinstance(result, dict) and "content" in result:
        return result["content"]
    return result


_SEEN: list[Callable[[str, Any], None]] = []
_STARTED: list[Callable[[object], None]] = []


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
    return not isinstance(agent, GroupChatManager) and agent.name not in CHOOSING


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


def _unlimited(thing: object, run: RunContext) -> Iterator[BuildRefused]:
    """A refusal for each limit that a part lacks or exceeds."""
    if isinstance(thing, GroupChat):
        if thing.max_round > run.limits.max_turns:
            yield BuildRefused(
                f"A GroupChat has max_round={thing.max_round}, above the limit max_turns={run.limits.max_turns}: build "
                "it with max_round=run.limits.max_turns; a model may never say the word that would end it."
            )
    elif isinstance(thing, ConversableAgent) and thing.name not in CHOOSING:
        yield from _unlimited_agent(thing)


def _unlimited_agent(agent: ConversableAgent) -> Iterator[BuildRefused]:
    label = f"The agent {agent.name!r}"
    if agent.human_input_mode != "NEVER":
        yield BuildRefused(
            f"{label} asks a human (human_input_mode={agent.human_input_mode!r}), and a run has no terminal: build it "
            'with human_input_mode="NEVER".'
        )
    if agent._code_execution_config is not False and not isinstance(agent.code_executor, SandboxExecutor):
        yield OutsideSandbox(
            f"{label} executes code outside of the sandbox: build it with code_execution_config=False, or with "
            'code_execution_config={"executor": run.code_executor()}.'
        )
    config = agent.llm_config
    if isinstance(config, LLMConfig) and config.cache_seed is not None:
        yield MemoryOnDisk(
            f"{label} has cache_seed={config.cache_seed}: answers would come from a cache on the disk, other users' "
            'too. Build it with llm_config=run.llm("fast") or run.llm("strong").'
        )
