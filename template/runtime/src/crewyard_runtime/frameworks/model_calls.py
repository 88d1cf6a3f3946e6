"""The model calls that a run makes by OpenAI's SDK, as all of AutoGen does: held to the limits, counted, reported.

One place for every client, also for one that a team makes by itself or that a framework makes unasked.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from functools import wraps
from typing import Any

from openai import AsyncStream, Stream
from openai.resources.chat.completions import AsyncCompletions, Completions
from openai.resources.responses import AsyncResponses, Responses

from crewyard_runtime.context import RunContext, active_run
from crewyard_runtime.errors import BuildRefused, RunStopped
from crewyard_runtime.frameworks.made import Judge, refuse_made
from crewyard_runtime.frameworks.messages import bounded_history, tell_what_is_known
from crewyard_runtime.frameworks.turns import Turn, current_turn
from crewyard_runtime.providers import PROVIDERS
from crewyard_runtime.tools import shortened

UNBOUNDED = (
    "A client calls OpenAI's Responses API, which keeps the history where no limit holds: "
    'build it with run.llm("fast") or run.llm("strong").'
)


def hold_model_calls(judge: Judge) -> None:
    """Send all calls by OpenAI's SDK through here, once a process. judge: of what is made while a run goes on."""
    if hasattr(Completions.create, "held_by_crewyard"):
        return
    for name in ("create", "parse"):
        setattr(Completions, name, _held(getattr(Completions, name), judge))
        setattr(AsyncCompletions, name, _held_async(getattr(AsyncCompletions, name), judge))
        for kind in (Responses, AsyncResponses):
            setattr(kind, name, _refused(getattr(kind, name)))


def _held(create: Callable[..., Any], judge: Judge) -> Callable[..., Any]:
    @wraps(create)
    def held(resource: Any, **arguments: Any) -> Any:
        run = active_run()
        if run is None:
            return create(resource, **arguments)
        call = _Call(run, resource._client, judge)
        call.admit(arguments, run.known.text())
        try:
            answer = create(resource, **arguments)
        except Exception as error:
            call.failed(error)
            raise
        if isinstance(answer, Stream):
            answer._iterator = call.counting(answer._iterator)
        else:
            call.count(getattr(answer, "usage", None))
        return answer

    held.held_by_crewyard = True  # type: ignore[attr-defined]
    return held


def _held_async(create: Callable[..., Any], judge: Judge) -> Callable[..., Any]:
    @wraps(create)
    async def held(resource: Any, **arguments: Any) -> Any:
        run = active_run()
        if run is None:
            return await create(resource, **arguments)
        call = _Call(run, resource._client, judge)
        call.admit(arguments, await asyncio.to_thread(run.known.text))
        try:
            answer = await create(resource, **arguments)
        except Exception as error:
            call.failed(error)
            raise
        if isinstance(answer, AsyncStream):
            answer._iterator = call.counting_async(answer._iterator)
        else:
            call.count(getattr(answer, "usage", None))
        return answer

    return held


def _refused(create: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(create)
    def refused(resource: Any, **arguments: Any) -> Any:
        if run := active_run():
            run.stop(BuildRefused(UNBOUNDED))
            raise run.stopped or BuildRefused(UNBOUNDED)
        return create(resource, **arguments)

    return refused


class _Call:
    """One model call of a run, from the check before it to its tokens."""

    def __init__(self, run: RunContext, client: Any, judge: Judge) -> None:
        self._run, self._client, self._judge = run, client, judge
        self._turn = current_turn() or Turn("", 0)
        self._model = ""
        self._started = time.monotonic()

    def admit(self, arguments: dict[str, Any], known: str) -> None:
        """Hold the request to the limits, in place. Raises RunStopped and BuildRefused, and ends the run by it."""
        run = self._run
        self._model = str(arguments.get("model") or "")
        if run.stopped is None:
            try:
                refuse_made(run, self._judge, self._unlimited(arguments))
            except BuildRefused as error:
                run.stop(error)
            if reason := run.spent_limit():
                run.stop(RunStopped(reason))
        if run.stopped:
            raise run.stopped
        messages = [_plain(message, run.limits.tool_characters) for message in arguments.get("messages") or []]
        messages = bounded_history(messages, run.limits.history_messages)
        if self._turn.agent:
            tell_what_is_known(messages, known)
        arguments["messages"] = messages
        if not run.with_tools:
            arguments.pop("tools", None)
        if arguments.get("stream") is True:
            arguments["stream_options"] = {**(arguments.get("stream_options") or {}), "include_usage": True}

    def _unlimited(self, arguments: dict[str, Any]) -> Iterator[BuildRefused]:
        limits, who = self._run.limits, self._turn.agent or "a client"
        given = arguments.get("timeout", self._client.timeout)
        timeout = given if isinstance(given, int | float | None) else getattr(given, "read", self._client.timeout)
        if not isinstance(timeout, int | float) or timeout > limits.model_seconds:
            yield BuildRefused(
                f"The model of {who} has timeout={timeout}, and the limit is model_seconds={limits.model_seconds:g}: "
                'build it with run.llm("fast") or run.llm("strong").'
            )
        if self._client.max_retries > limits.model_retries:
            yield BuildRefused(
                f"The model of {who} has max_retries={self._client.max_retries}, above the limit "
                f'model_retries={limits.model_retries}: build it with run.llm("fast") or run.llm("strong").'
            )

    def count(self, usage: Any) -> None:
        """Count the answer's tokens, and report the call."""
        tokens = None
        if usage is not None:
            tokens = (int(usage.prompt_tokens or 0), int(usage.completion_tokens or 0))
        self._run.usage.add(f"{self._provider()}/{self._model}", tokens)
        self._emit("model.called", tokens=sum(tokens or ()), model=self._model)

    def counting(self, chunks: Iterator[Any]) -> Iterator[Any]:
        """The chunks of a stream, counted at its end."""
        usage = None
        try:
            for chunk in chunks:
                usage = getattr(chunk, "usage", None) or usage
                yield chunk
        finally:
            self.count(usage)

    async def counting_async(self, chunks: AsyncIterator[Any]) -> AsyncIterator[Any]:
        """The same."""
        usage = None
        try:
            async for chunk in chunks:
                usage = getattr(chunk, "usage", None) or usage
                yield chunk
        finally:
            self.count(usage)

    def failed(self, error: Exception) -> None:
        """Report a call without an answer."""
        self._emit("model.failed", error=str(error))

    def _emit(self, kind: str, **data: Any) -> None:
        seconds = round(time.monotonic() - self._started, 3)
        step = self._turn.step if self._turn.agent else "model call"
        self._run.emit(kind, agent=self._turn.agent, step=step, seconds=seconds, **data)

    def _provider(self) -> str:
        url = str(self._client.base_url).rstrip("/")
        places = {provider.base_url: name for name, provider in PROVIDERS.items() if provider.base_url}
        return places.get(url, "openai")


def _plain(message: Any, characters: int) -> Any:
    """A copy of a message: what is added to it must not stay in the framework's own history. Tools' results are cut."""
    copied = dict(message) if isinstance(message, dict) else message.model_dump(exclude_none=True)
    if copied.get("role") == "tool" and isinstance(copied.get("content"), str):
        copied["content"] = shortened(copied["content"], characters)
    return copied
