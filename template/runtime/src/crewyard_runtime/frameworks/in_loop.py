"""The event loop of one run: what is built in it is used in it, and closed with it."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any

from crewyard_runtime.application import Application
from crewyard_runtime.context import RunContext
from crewyard_runtime.frameworks.made import Judge, refuse_kind, refuse_made

Coroutine = Callable[[], Awaitable[Any]]


@dataclass
class InLoop:
    """What a build function has made, and the loop in which it was."""

    made: Any
    loop: asyncio.Runner

    def call(self) -> Coroutine:
        """What was made, where it is a function without arguments: as a coroutine function."""

        async def call() -> Any:
            result = self.made()
            return await result if inspect.isawaitable(result) else result

        return call

    def finish(self, run: RunContext, work: Coroutine, close: Coroutine) -> Any:
        """Do the work, close what the run has made, end the loop. Raises what stopped the run, or what the work did."""

        async def work_and_close() -> Any:
            try:
                return await work()
            finally:
                await close()

        try:
            with self.loop as loop:
                result = loop.run(work_and_close())
        except Exception as error:
            if run.stopped:
                raise run.stopped from error
            raise
        if run.stopped:
            raise run.stopped
        return result


def build_in_loop(application: Application, run: RunContext, judge: Judge, kinds: dict[str, type]) -> InLoop:
    """Call the build function, a coroutine function or not, in a new loop.

    kinds: what can be run beside functions, by the names a reader knows. Raises BuildRefused for anything else, and
    for what `judge` has found.
    """
    loop = new_loop()
    try:
        built = loop.run(_built(application, run))
        refuse_made(run, judge)
        refuse_kind(application, built, kinds)
    except BaseException:
        loop.close()
        raise
    return InLoop(built, loop)


async def _built(application: Application, run: RunContext) -> Any:
    made = application.load_build()(run)
    return await made if inspect.isawaitable(made) else made


def new_loop() -> asyncio.Runner:
    """A loop whose threads belong to the run, too."""
    loop = asyncio.Runner()
    loop.get_loop().set_default_executor(_Threads())
    return loop


class _Threads(ThreadPoolExecutor):
    """Its threads have the context of who asked for them, so that a call in one finds its run: asyncio's have none.

    The end of a loop waits for the threads of its executor, and a tool may hang in one: here it does not wait.
    """

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        return super().submit(copy_context().run, function, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        super().shutdown(wait=False, cancel_futures=True)
