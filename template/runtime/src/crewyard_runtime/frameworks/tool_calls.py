"""A tool call of a run, for frameworks that have no hook for it: guarded by the run's limits, and reported."""

import time
from collections.abc import Awaitable, Callable
from typing import Any

from crewyard_runtime.context import RunContext
from crewyard_runtime.errors import error_chain
from crewyard_runtime.frameworks.turns import speaker
from crewyard_runtime.tools import ToolFailed


def call_tool(run: RunContext, name: str, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """The tool's result. Raises ToolFailed with a sentence for the agent, and what has stopped the run."""
    _go_on(run)
    started = time.monotonic()
    try:
        result = run.tool_guard.call(name, function, *args, **kwargs)
    except ToolFailed as error:
        _report(run, name, started, error)
        raise
    _report(run, name, started)
    return result


async def acall_tool(
    run: RunContext, name: str, function: Callable[..., Awaitable[Any]], /, *args: Any, **kwargs: Any
) -> Any:
    """The same of a coroutine function."""
    _go_on(run)
    started = time.monotonic()
    try:
        result = await run.tool_guard.acall(name, function, *args, **kwargs)
    except ToolFailed as error:
        _report(run, name, started, error)
        raise
    _report(run, name, started)
    return result


def _go_on(run: RunContext) -> None:
    if run.stopped:
        raise run.stopped


def _report(run: RunContext, name: str, started: float, error: ToolFailed | None = None) -> None:
    if error:
        cause = error_chain(error.__cause__ or error)[-1]
        run.log.warning("tool.failed tool=%s %s at %s", name, error, cause.where)
    seconds = round(time.monotonic() - started, 3)
    run.emit("tool.called", agent=speaker(), tool=name, seconds=seconds, error=str(error) if error else None)
