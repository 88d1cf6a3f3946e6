"""A sign of life for the health check of a container: a file, named by ALIVE_FILE, whose time is set again and again.

It says that the process runs, and nothing of the servers: a restart would not mend those.
"""

import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SECONDS = 5
LATE_SECONDS = 60

log = logging.getLogger("crewyard")


def sign() -> None:
    """Give the sign, if there is a file to give it by."""
    if file := os.environ.get("ALIVE_FILE"):
        try:
            Path(file).touch()
        except OSError as error:
            log.warning("no sign of life can be given: %s: %s", file, error.strerror)


@contextmanager
def signing() -> Iterator[None]:
    """Give the sign from a thread, as long as the block goes on."""
    done = threading.Event()

    def go_on() -> None:
        while not done.is_set():
            sign()
            done.wait(SECONDS)

    threading.Thread(target=go_on, name="alive", daemon=True).start()
    try:
        yield
    finally:
        done.set()


def trouble() -> str | None:
    """Why there seems to be no life; None if there is a sign of late."""
    file = os.environ.get("ALIVE_FILE")
    if not file:
        return "ALIVE_FILE is not set: it names the file by which a gateway or a worker says that it lives."
    try:
        age = time.time() - Path(file).stat().st_mtime
    except OSError as error:
        return f"No gateway and no worker has given a sign of life yet: {file}: {error.strerror}."
    return None if age <= LATE_SECONDS else f"The last sign of life is {age:.0f} seconds old."
