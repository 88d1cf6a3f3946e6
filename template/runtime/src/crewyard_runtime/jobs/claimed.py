"""One claimed run, from its claim to its recorded end."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DataError, SQLAlchemyError
from tenacity import (
    Retrying,
    retry_if_exception_type,
    retry_if_not_exception_type,
    stop_after_delay,
    stop_when_event_set,
    wait_random_exponential,
)

from crewyard_runtime import logs
from crewyard_runtime.application import Application
from crewyard_runtime.execution import Outcome, Runner, RunRequest
from crewyard_runtime.execution.messages import Failure
from crewyard_runtime.jobs.keeper import Keeper
from crewyard_runtime.jobs.memory_tokens import MemoryTokens
from crewyard_runtime.settings import ApplicationSettings, plain
from crewyard_runtime.store import runs

# A database that comes back within this time still gets the result; after that, another attempt does the run again.
RECORD_SECONDS = 120

log = logging.getLogger("crewyard.jobs")
OnEvent = Callable[[str, str, dict[str, Any]], None]


@dataclass(frozen=True)
class ClaimedRuns:
    """Does runs that were claimed, and records how they ended.

    memory: signs what opens the memory of a run's user. giving_up: set when nobody may wait for the database.
    """

    runner: Runner
    applications: dict[str, Application]
    application_settings: dict[str, ApplicationSettings]
    memory: MemoryTokens
    json_logs: bool = True
    giving_up: threading.Event = field(default_factory=threading.Event)

    def do(
        self,
        claim: runs.Claim,
        keeper: Keeper,
        on_event: OnEvent | None = None,
        with_tools: bool = True,
        keep_workspace: bool = False,
    ) -> tuple[Outcome, str | None]:
        """How the attempt ended, and the run's status afterwards; None if it is another attempt's by now."""

        def event(run_id: str, kind: str, data: dict[str, Any]) -> None:
            keeper.add_event(run_id, kind, data)
            if on_event:
                on_event(run_id, kind, data)

        with keeper, logs.ids(claim.request_id, str(claim.id)):
            log.info("attempt %d of a run of %s started", claim.attempt, claim.application)
            outcome = self.runner.run(
                self.applications[claim.application],
                self._request(claim, with_tools),
                event,
                keep_workspace=keep_workspace,
                control=keeper.control,
            )
            status = None if keeper.taken else self._record(claim, keeper, outcome)
            log.info("attempt %d ended: %s; the run is %s", claim.attempt, _how(outcome), status or "another worker's")
        return outcome, status

    def _request(self, claim: runs.Claim, with_tools: bool) -> RunRequest:
        return RunRequest(
            run_id=str(claim.id),
            attempt=claim.attempt,
            user_id=claim.user_id,
            memory_token=self.memory.sign(claim.user_id),
            input=claim.input,
            settings=plain(self.application_settings[claim.application]),
            runtime={},
            with_tools=with_tools,
            request_id=claim.request_id,
            json_logs=self.json_logs,
        )

    def _record(self, claim: runs.Claim, keeper: Keeper, outcome: Outcome) -> str | None:
        def step(tx: Connection) -> str | None:
            if outcome.status == "cancelled" and keeper.returning:
                return runs.give_back(tx, claim, outcome)
            if outcome.died:
                return runs.lose(tx, claim, outcome)
            return outcome.status if runs.finish(tx, claim, outcome) else None

        try:
            for attempt in Retrying(
                retry=retry_if_exception_type(SQLAlchemyError) & retry_if_not_exception_type(DataError),
                stop=stop_after_delay(RECORD_SECONDS) | stop_when_event_set(self.giving_up),
                wait=wait_random_exponential(0.2, max=2),
                reraise=True,
            ):
                with attempt:
                    return keeper.record(step)
        except DataError as error:
            keeper.forget_events()
            reason = f"The result cannot be stored: {error.orig}"
            failed = outcome.model_copy(update={"status": "failed", "output": None, "error": Failure(reason=reason)})
            return "failed" if keeper.record(lambda tx: runs.finish(tx, claim, failed)) else None
        except SQLAlchemyError:
            log.exception("the end of the run could not be recorded; another attempt will do it again")
        return None


def _how(outcome: Outcome) -> str:
    return f"{outcome.status}: {outcome.error.reason}" if outcome.error else outcome.status
