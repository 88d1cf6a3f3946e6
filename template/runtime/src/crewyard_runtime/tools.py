"""The wrapper that every tool call goes through: a time limit, backoff for transient errors, few at once."""

import asyncio
import contextvars
import inspect
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any

from tenacity import (
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

    def call(self, name: str, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call a tool's function and return what it returns; a coroutine is awaited.

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
            return done.result(timeout=seconds)
        except FutureTimeout as error:
            if done.done():
                raise ToolFailed(_sentence(name, error)) from error
            given_up.set()
            msg = f"The tool {name} gave no answer within {seconds:g} seconds. Go on without it or ask it for less."
            raise ToolFailed(msg) from error
        except (Exception, SystemExit, asyncio.CancelledError) as error:
            raise ToolFailed(_sentence(name, error)) from error

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
            wait=wait_exponential_jitter(multiplier=0.2, max=5, jitter=0.2),
            retry=retry_if_exception(is_transient),
            sleep=sleep_using_event(given_up),
            reraise=True,
        )


def _finish(given_up: threading.Event, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    if given_up.is_set():  # between two tries; nobody waits for the result any more
        return None
    result = function(*args, **kwargs)
    return asyncio.run(_awaited(result)) if inspect.isawaitable(result) else result


async def _awaited(result: Any) -> Any:
    return await result


def _sentence(name: str, error: BaseException) -> str:
    return f"The tool {name} failed: {type(error).__name__}: {str(error) or 'no details'}."
