"""The wrapper of every tool call: a time limit, backoff after transient errors, few at once, short results."""

import asyncio
import contextvars
import inspect
import socket
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any

from tenacity import (
    AsyncRetrying,
    Retrying,
    retry_if_exception,
    sleep_using_event,
    stop_after_attempt,
    stop_when_event_set,
    wait_exponential_jitter,
)

from crewyard_runtime.limits import RunLimits


class ToolFailed(Exception):
    """A tool call failed for good; the message is a sentence for the agent, the cause is the last error."""


BROKEN = (ConnectionError, TimeoutError, socket.gaierror)
# The same of libraries that derive them otherwise (httpx, requests, openai, aiohttp, redis): by name, to import none.
TRANSIENT = ("TransportError", "RequestException", "APIConnectionError", "ClientConnectionError", "ConnectionError")

ROOM = 80  # characters for the note of what is missing
PAUSES = wait_exponential_jitter(multiplier=0.2, max=5, jitter=0.2)


def is_transient(error: BaseException) -> bool:
    """Whether trying again may help: no connection, a time-out, HTTP 429 or 5xx (of the error or its response)."""
    response = getattr(error, "response", None)
    status = getattr(error, "status_code", None) or getattr(response, "status_code", None)
    if isinstance(status, int):
        return status == 429 or status >= 500
    by_name = any(kind.__name__ in TRANSIENT for kind in type(error).__mro__)
    cause = getattr(error, "reason", None)  # of urllib's URLError
    return by_name or isinstance(error, BROKEN) or isinstance(cause, BROKEN)


class ToolGuard:
    """The tool calls of one run."""

    def __init__(self, limits: RunLimits) -> None:
        self._limits = limits
        self._slots = threading.BoundedSemaphore(limits.tool_concurrency)
        self._async_slots = asyncio.Semaphore(limits.tool_concurrency)

    def call(self, name: str, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call a tool's function and return what it returns, a long text cut with a note; a coroutine is awaited.

        Raises ToolFailed when it took longer than `tool_seconds` (the wait for a slot included) or failed; transient
        errors are tried again first. A call that is given up goes on in its thread and keeps its slot, because Python
        cannot stop a thread; it ends with the run's process.
        """
        seconds = self._limits.tool_seconds
        done: Future[Any] = Future()
        given_up = threading.Event()
        context = contextvars.copy_context()
        worker = threading.Thread(
            target=context.run,
            args=(self._work, done, given_up, function, args, kwargs),
            name=f"tool-{name}",
            daemon=True,
        )
        worker.start()
        try:
            return self._shown(done.result(timeout=seconds))
        except FutureTimeout as error:
            if done.done():
                raise ToolFailed(_sentence(name, error)) from error
            given_up.set()
            raise ToolFailed(_no_answer(name, seconds)) from error
        except (Exception, SystemExit, asyncio.CancelledError) as error:
            raise ToolFailed(_sentence(name, error)) from error

    async def acall(self, name: str, function: Callable[..., Awaitable[Any]], /, *args: Any, **kwargs: Any) -> Any:
        """The same of a coroutine function, in the event loop that is there.

        A call that is given up is cancelled; a thread that it waits for goes on, and ends with the run's process.
        """
        seconds = self._limits.tool_seconds
        try:
            async with asyncio.timeout(seconds) as bound, self._async_slots:
                return self._shown(await self._async_retrying()(function, *args, **kwargs))
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():  # the run is cancelled, not the tool
                raise
            raise ToolFailed(_sentence(name, error)) from error
        except (Exception, SystemExit) as error:
            said = _no_answer(name, seconds) if bound.expired() else _sentence(name, error)
            raise ToolFailed(said) from error

    def _shown(self, result: Any) -> Any:
        return shortened(result, self._limits.tool_characters) if isinstance(result, str) else result

    def _work(
        self, done: "Future[Any]", given_up: threading.Event, function: Callable[..., Any], args: Any, kwargs: Any
    ) -> None:
        with self._slots:
            try:
                done.set_result(self._retrying(given_up)(_finish, given_up, function, args, kwargs))
            except BaseException as error:
                done.set_exception(error)

    def _retrying(self, given_up: threading.Event) -> Retrying:
        return Retrying(
            stop=stop_after_attempt(1 + self._limits.tool_retries) | stop_when_event_set(given_up),
            wait=PAUSES,
            retry=retry_if_exception(is_transient),
            sleep=sleep_using_event(given_up),
            reraise=True,
        )

    def _async_retrying(self) -> AsyncRetrying:
        return AsyncRetrying(
            stop=stop_after_attempt(1 + self._limits.tool_retries),
            wait=PAUSES,
            retry=retry_if_exception(is_transient),
            reraise=True,
        )


def _finish(given_up: threading.Event, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    if given_up.is_set():  # between two tries; nobody waits for the result any more
        return None
    result = function(*args, **kwargs)
    return asyncio.run(_awaited(result)) if inspect.isawaitable(result) else result


async def _awaited(result: Any) -> Any:
    return await result


def shortened(text: str, limit: int) -> str:
    """A text of `limit` characters at most, which is 100 or more: its beginning, and a note of what is missing."""
    if len(text) <= limit:
        return text
    kept = limit - ROOM
    return f"{text[:kept]}\n[{len(text) - kept} more characters are cut off here: ask for less]"


def _no_answer(name: str, seconds: float) -> str:
    return f"The tool {name} gave no answer within {seconds:g} seconds. Go on without it or ask it for less."


def _sentence(name: str, error: BaseException) -> str:
    return f"The tool {name} failed: {type(error).__name__}: {str(error) or 'no details'}."
