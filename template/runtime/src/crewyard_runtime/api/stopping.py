"""Word that the process has been told to stop, for what would otherwise keep it waiting."""

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def told_to_stop(callback: Callable[[], None]) -> Iterator[None]:
    """Call `callback` on the running event loop at a signal to stop, before the server's own handler acts on it.

    uvicorn has no hook for this: at a signal it waits for all connections to close, and only then tells the lifespan.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # the server of a test, say; it gets no signals
        return
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in SIGNALS}

    def handle(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(callback)
        handler = before[signal.Signals(number)]
        if callable(handler):
            handler(number, frame)

    for number in SIGNALS:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
