"""A batch of inputs on the command line: read, validate, run in parallel, one JSON result a line."""

import json
import logging
import os
import socket
import sys
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from sqlalchemy.exc import SQLAlchemyError

from crewyard_runtime.application import Application
from crewyard_runtime.errors import problems_of
from crewyard_runtime.execution import Outcome, Runner
from crewyard_runtime.jobs.claimed import ClaimedRuns
from crewyard_runtime.jobs.keeper import Keeper
from crewyard_runtime.jobs.memory_tokens import MemoryTokens
from crewyard_runtime.settings import ApplicationSettings, RuntimeSettings
from crewyard_runtime.store import Database, intake, runs

log = logging.getLogger("crewyard")


class NoInput(ValueError):
    """There is nothing to run; the message says what to give."""


@dataclass(frozen=True)
class Line:
    """One input as it was read: its line number, and its data or the sentence that says why it has none."""

    number: int
    data: Any = None
    problem: str | None = None


@dataclass
class Batch:
    """Runs the lines of one batch, and records each run in the store like a worker's.

    Another worker never takes such a run over: if the command dies, it is dead. parallel: runs at the same time.
    """

    database: Database
    runner: Runner
    application: Application
    settings: RuntimeSettings
    application_settings: ApplicationSettings
    parallel: int = 1
    with_tools: bool = True
    keep: bool = False
    worker: str = field(default_factory=lambda: f"command-{socket.gethostname()}-{os.getpid()}")

    def __post_init__(self) -> None:
        self._memory = MemoryTokens(self.database, self.settings)

    def run(self, lines: list[Line]) -> Iterator[dict[str, Any]]:
        """Yield one result for each line, as each ends. On an interrupt all runs are ended before it goes on."""
        with ThreadPoolExecutor(self.parallel) as pool:
            waiting: set[Future[dict[str, Any]]] = {pool.submit(self._one, line) for line in lines}
            try:
                while waiting:
                    # With a time-out, so that a signal is noticed while no run ends.
                    done, waiting = wait(waiting, timeout=0.5, return_when=FIRST_COMPLETED)
                    yield from (future.result() for future in done)
            except BaseException:
                self.runner.cancel()
                raise

    def _one(self, line: Line) -> dict[str, Any]:
        started = time.monotonic()
        problem = line.problem or self._invalid(line.data)
        if problem:
            return {"line": line.number, "run_id": None, "status": "invalid", "error": {"reason": problem, "chain": []}}
        try:
            outcome = self._do(line.data)
        except SQLAlchemyError as error:
            reason = f"The run was not started, because it cannot be recorded: {error.__cause__ or error}"
            return {"line": line.number, "run_id": None, "status": "failed", "error": {"reason": reason, "chain": []}}
        return self._result(line, outcome, round(time.monotonic() - started, 3))

    def _do(self, data: Any) -> Outcome:
        new = intake.NewRun(uuid.uuid4(), self.application.name, self.settings.user_id, data, max_attempts=1)
        claimed_at, lease_seconds = time.monotonic(), self.settings.lease_seconds
        with self.database.transaction() as tx:
            claim = runs.start_at_once(tx, new, self.worker, lease_seconds)
        claimed = ClaimedRuns(
            self.runner,
            {self.application.name: self.application},
            {self.application.name: self.application_settings},
            self._memory,
            json_logs=False,
        )
        keeper = Keeper(self.database, claim, lease_seconds, claimed_at)
        return claimed.do(claim, keeper, _log_event, self.with_tools, self.keep)[0]

    def _invalid(self, data: Any) -> str | None:
        try:
            self.application.input.model_validate(data)
        except ValidationError as error:
            return f"This is no {self.application.input.__name__}: {problems_of(error, 'input')}."
        return None

    def _result(self, line: Line, outcome: Outcome, seconds: float) -> dict[str, Any]:
        result = {"line": line.number, **outcome.model_dump(mode="json"), "seconds": seconds}
        if result["usage"]["cost_usd"] is None:
            result["usage"]["cost_usd"] = "unknown"
        if self.keep:
            result["workspace"] = str(self.settings.writable_dir / "runs" / f"{outcome.run_id}-1")
        return result


def _log_event(run_id: str, event: str, data: dict[str, Any]) -> None:
    shown = " ".join(f"{key}={value}" for key, value in data.items())
    level = logging.INFO if event.startswith(("build.", "run.")) else logging.DEBUG
    log.log(level, "%s run=%s %s", event, run_id, shown)


def read_lines(source: str | None) -> list[Line]:
    """The inputs that `source` means: a file of JSON lines, JSON itself, or standard input for None and "-".

    Raises NoInput for a file that is not there or cannot be read as text, and when nothing is given.
    """
    text = _read(source)
    whole = parse(text)
    if whole.problem is None and isinstance(whole.data, dict):
        return [whole]
    lines = [parse(row, number) for number, row in enumerate(text.split("\n"), 1) if row.strip()]
    if not lines:
        msg = "There is no input: give a file of JSON lines, one JSON object, or pipe them in."
        raise NoInput(msg)
    return lines


def _read(source: str | None) -> str:
    if source is not None and source.lstrip().startswith(("{", "[")):
        return source
    if source in (None, "-"):
        if sys.stdin is None or sys.stdin.isatty():
            msg = "There is no input: give a file of JSON lines, one JSON object, or pipe them in."
            raise NoInput(msg)
        try:
            return sys.stdin.buffer.read().decode("utf-8-sig")
        except UnicodeDecodeError as error:
            msg = "Standard input cannot be read: it is not UTF-8 text. Give JSON lines, or one JSON object."
            raise NoInput(msg) from error
    path = Path(str(source))
    try:
        return path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        msg = f"{path} cannot be read: {why}. Give a file of JSON lines, or one JSON object."
        raise NoInput(msg) from error


def parse(text: str, number: int = 1) -> Line:
    """One line of input: its data, or why it has none."""
    try:
        data = json.loads(text)
        json.dumps(data, ensure_ascii=False).encode()  # "\\ud800" is JSON, and half a character that no text can hold
        return Line(number, data)
    except (ValueError, RecursionError) as error:
        return Line(number, problem=f"This is no JSON: {error}.")
