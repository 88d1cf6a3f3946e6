"""AgentChat under the runtime: what is built is judged, its turns, tools, handoffs and model calls held to the limits.

The library has no hooks and gets no releases any more (0.7.5 is of September 2025), so its own methods are wrapped.
"""

import asyncio
import logging
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from functools import wraps
from typing import Any

from autogen_agentchat.agents import AssistantAgent, BaseChatAgent, UserProxyAgent
from autogen_agentchat.base import ChatAgent, TaskResult, Team
from autogen_agentchat.messages import HandoffMessage, StructuredMessage
from autogen_agentchat.teams import BaseGroupChat
from autogen_agentchat.teams._group_chat._events import SerializableException
from autogen_agentchat.tools import AgentTool, TeamTool
from autogen_core import CancellationToken
from autogen_core.code_executor import CodeBlock, CodeExecutor, CodeResult
from autogen_core.models import ChatCompletionClient, ModelFamily, ModelInfo
from autogen_core.tools import BaseTool
from autogen_ext.models.openai import BaseOpenAIChatCompletionClient, OpenAIChatCompletionClient

from crewyard_runtime.application import Application
from crewyard_runtime.context import RunContext, active_run
from crewyard_runtime.errors import BuildRefused, OutsideSandbox, RunStopped, text_of
from crewyard_runtime.frameworks.code import execute_blocks
from crewyard_runtime.frameworks.in_loop import InLoop, build_in_loop
from crewyard_runtime.frameworks.made import note_made
from crewyard_runtime.frameworks.messages import task_of
from crewyard_runtime.frameworks.model_calls import hold_model_calls
from crewyard_runtime.frameworks.preload import preload, preload_model_calls
from crewyard_runtime.frameworks.tool_calls import acall_tool
from crewyard_runtime.frameworks.turns import turn_of
from crewyard_runtime.providers import PROVIDERS, split_model
from crewyard_runtime.settings import RuntimeSettings

# What must be made anew for each run.
PARTS: tuple[type, ...] = (BaseChatAgent, BaseGroupChat, BaseOpenAIChatCompletionClient, BaseTool)

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

# It dumps each structured answer for a log that nobody reads, and pydantic warns of it with the answer in the warning.
warnings.filterwarnings("ignore", message="Pydantic serializer warnings")

# It logs whole prompts at INFO, and each failure of an agent once more than we do.
for _name in ("autogen_agentchat", "autogen_core", "autogen_agentchat.events", "autogen_core.events"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)

preload_model_calls()
preload("openai.resources.beta")


def install_hooks() -> None:
    """Wrap what a run goes through, once a process; outside of a run it does as before."""
    note_made((BaseChatAgent, BaseGroupChat, BaseOpenAIChatCompletionClient), _take_turns)
    CodeExecutor.__new__ = _note_executor  # type: ignore[method-assign,assignment]
    note_made((HandoffMessage,), _note_handoff)
    hold_model_calls(_unlimited)
    SerializableException.from_exception = classmethod(_kept)  # type: ignore[assignment,method-assign]
    if not hasattr(BaseTool.run_json, "guarded_by_crewyard"):
        BaseTool.run_json = _guarded(BaseTool.run_json)  # type: ignore[method-assign]


def make_llm(run: RunContext, settings: RuntimeSettings, role: str) -> ChatCompletionClient:
    """A new client for this run, in the run's event loop. Its retries are the SDK's: backoff after 429 and 5xx."""
    model = settings.model(role)
    provider, name = split_model(model)
    key = settings.api_key(model)
    options: dict[str, Any] = {
        "base_url": settings.openai_base_url if provider == "openai" else PROVIDERS[provider].base_url,
        "temperature": settings.temperature,
    }
    return OpenAIChatCompletionClient(
        model=name,
        api_key=key.get_secret_value() if key else "none",
        timeout=run.limits.model_seconds,
        max_retries=run.limits.model_retries,
        model_info=ANY_MODEL,
        **{name: value for name, value in options.items() if value is not None},
    )


class SandboxExecutor(CodeExecutor):
    """AutoGen's CodeExecutor on the sandbox of a run, for a CodeExecutorAgent or a PythonCodeExecutionTool."""

    def __init__(self, run: RunContext) -> None:
        self._run = run

    async def execute_code_blocks(
        self, code_blocks: list[CodeBlock], cancellation_token: CancellationToken
    ) -> CodeResult:
        """Execute one after the other, until one fails."""
        blocks = [(block.language, block.code) for block in code_blocks]
        execution = await asyncio.to_thread(execute_blocks, self._run, blocks)
        return CodeResult(execution.exit_code, execution.output)

    async def start(self) -> None:
        """The first execution starts it."""

    async def stop(self) -> None:
        """The end of the run stops it."""

    async def restart(self) -> None:
        """Its files stay until the end of the run."""


def make_code_executor(run: RunContext) -> SandboxExecutor:
    """A code executor for this run."""
    return SandboxExecutor(run)


def build(application: Application, run: RunContext) -> InLoop:
    """Call the build function. Raises BuildRefused for what has no limits, and for what cannot be run."""
    install_hooks()
    return build_in_loop(application, run, _unlimited, {"a team": Team, "an agent": ChatAgent})


def kick_off(built: InLoop, run: RunContext) -> Any:
    """Run a team with the input as its task, or call the function. Raises RunStopped or BuildRefused at a limit."""

    async def work() -> Any:
        return await built.made.run(task=task_of(run.input))

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


def watch_handovers(seen: Callable[[str, Any], None], started: Callable[[object], None]) -> None:
    """Call `seen` with a label and the data of each message between agents, and `started` with what is run."""
    run_stream: Any = BaseGroupChat.run_stream

    def watched(team: BaseGroupChat, **arguments: Any) -> Any:
        started(team)
        return run_stream(team, **arguments)

    BaseGroupChat.run_stream = watched  # type: ignore[method-assign,assignment]
    _SEEN.append(seen)


_SEEN: list[Callable[[str, Any], None]] = []


_as_text = SerializableException.from_exception


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


def _unlimited(thing: object, run: RunContext) -> Iterator[BuildRefused]:
    """A refusal for each limit that a part lacks or exceeds."""
    limits = run.limits
    if isinstance(thing, BaseGroupChat):
        turns = thing._max_turns
        if turns is None or turns > limits.max_turns:
            yield BuildRefused(
                f"The team {thing.name!r} has max_turns={turns}, and the limit is max_turns={limits.max_turns}: "
                "build it with max_turns=run.limits.max_turns; a model may never say the word that would end it."
            )
    elif isinstance(thing, UserProxyAgent):
        yield BuildRefused(
            f"The agent {thing.name!r} asks a human, and a run has no terminal: leave the UserProxyAgent out."
        )
    elif isinstance(thing, CodeExecutor) and not isinstance(thing, SandboxExecutor):
        yield OutsideSandbox(
            f"A {type(thing).__name__} executes code outside of the sandbox: take run.code_executor() in its place."
        )
    elif isinstance(thing, AssistantAgent) and thing._max_tool_iterations > limits.max_iter:
        yield BuildRefused(
            f"The agent {thing.name!r} has max_tool_iterations={thing._max_tool_iterations}, above the limit "
            f"max_iter={limits.max_iter}: build it with max_tool_iterations=run.limits.max_iter."
        )
