"""What can be asked of a run that was taken in: how it goes, its cancellation, another try."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import Query, Response
from sqlalchemy import Connection, Row

from crewyard_runtime import logs
from crewyard_runtime.api.admission import Caller
from crewyard_runtime.api.problems import Refused
from crewyard_runtime.api.queue import Queue
from crewyard_runtime.api.views import Cursor, Run, RunPage, Status, place_of
from crewyard_runtime.identity import Principal
from crewyard_runtime.settings import ServiceSettings
from crewyard_runtime.store import audit, runs
from crewyard_runtime.store.async_database import AsyncDatabase

MOST_RUNS = 100


class Runs:
    """The endpoints. A user finds their own runs alone, an operator all."""

    def __init__(self, settings: ServiceSettings, database: AsyncDatabase, queue: Queue) -> None:
        self._settings = settings
        self._database = database
        self._queue = queue

    async def show(self, run_id: UUID, caller: Caller) -> Response:
        """How a run goes, with all its attempts."""
        return (await self._database.transaction(_show, run_id, caller)).as_response()

    async def page(
        self,
        caller: Caller,
        status: Annotated[Status | None, Query(description="only runs of this status")] = None,
        cursor: Annotated[Cursor | None, Query(description="`next` of the page before")] = None,
        limit: Annotated[int, Query(ge=1, le=MOST_RUNS)] = 50,
    ) -> Response:
        """Runs, newest first."""
        place = None if cursor is None else place_of(cursor)
        user_id = None if caller.operator else caller.user_id
        found = await self._database.transaction(runs.page, user_id, status, place, limit)
        return RunPage.of(found).as_response()

    async def cancel(self, run_id: UUID, caller: Caller) -> Response:
        """End a run: at once if it waits, and soon if it is running. A run that has ended stays as it is."""
        return (await self._database.transaction(_cancel, run_id, caller)).as_response(202)

    async def retry(self, run_id: UUID, caller: Caller) -> Response:
        """Queue a run again that has ended without success, with as many attempts as a new one."""
        run, waiting = await self._database.transaction(self._retry, run_id, caller)
        await self._queue.wake(waiting)
        return run.as_response(202)

    def _retry(self, tx: Connection, run_id: UUID, caller: Principal) -> tuple[Run, int]:
        count_to = self._queue.count_to()
        find(tx, run_id, caller)
        waiting = runs.waiting(tx, count_to)
        try:
            runs.retry(tx, run_id, self._settings.max_attempts)
        except runs.NotNow as error:
            raise Refused(409, str(error)) from error
        self._queue.check(waiting, count_to)
        _record(tx, caller, "run.retried", run_id)
        return _show(tx, run_id, caller), waiting


def find(tx: Connection, run_id: UUID, caller: Principal) -> Row[Any]:
    """A run that the caller may know of. Raises Refused (404), the same for one of another user."""
    run = runs.find(tx, run_id, None if caller.operator else caller.user_id)
    if run is None:
        raise Refused(404, "There is no such run.")
    return run


def _show(tx: Connection, run_id: UUID, caller: Principal) -> Run:
    return Run.of(find(tx, run_id, caller), runs.attempts_of(tx, run_id))


def _cancel(tx: Connection, run_id: UUID, caller: Principal) -> Run:
    if find(tx, run_id, caller).status not in runs.ENDED:
        runs.cancel(tx, run_id)
        _record(tx, caller, "run.cancelled", run_id)
    return _show(tx, run_id, caller)


def _record(tx: Connection, caller: Principal, action: str, run_id: UUID) -> None:
    audit.record(tx, caller.actor, action, str(run_id), caller.user_id, logs.request_id.get())
