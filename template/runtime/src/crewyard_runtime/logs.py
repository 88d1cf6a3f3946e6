"""Logs as JSON, one object a line on standard error; each carries the ids of its request and its run."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TextIO

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter

request_id: ContextVar[str | None] = ContextVar("crewyard_request_id", default=None)
run_id: ContextVar[str | None] = ContextVar("crewyard_run_id", default=None)

_default_ids: dict[str, str | None] = {"request_id": None, "run_id": None}


def configure(level: int = logging.INFO, stream: TextIO | None = None) -> None:
    """Send every logger to `stream` (standard error) as JSON lines, in place of what was configured before.

    level: of libraries; what crewyard itself says is told from INFO.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        JsonFormatter(
            "%(levelname)s %(name)s %(message)s %(request_id)s %(run_id)s",
            rename_fields={"levelname": "level", "name": "logger"},
            reserved_attrs=[*RESERVED_ATTRS, "color_message"],
            timestamp=True,
        )
    )
    handler.addFilter(_add_ids)
    logging.basicConfig(handlers=[handler], level=level, force=True)
    logging.getLogger("crewyard").setLevel(logging.INFO)
    logging.captureWarnings(True)


def process_is_for(request: str | None, run: str) -> None:
    """Give every line of this process these ids, in threads too that know no context: a run's process has one run."""
    _default_ids.update(request_id=request, run_id=run)


@contextmanager
def ids(request: str | None, run: str | None) -> Iterator[None]:
    """Give the lines that are logged from here these ids."""
    tokens = request_id.set(request), run_id.set(run)
    try:
        yield
    finally:
        request_id.reset(tokens[0])
        run_id.reset(tokens[1])


def _add_ids(record: logging.LogRecord) -> bool:
    record.request_id = request_id.get() or _default_ids["request_id"]
    record.run_id = run_id.get() or _default_ids["run_id"]
    return True
