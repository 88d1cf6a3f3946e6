"""Runs and their attempts: taken in, claimed, kept alive, ended. Every change is fenced by the attempt's number.

A run is `queued`, then `running` under a lease, then ended, once: succeeded, failed, timed_out, cancelled or dead.
An attempt that dies (`lost`) or is handed back (`returned`) leaves its run queued again, until `max_attempts` died.
Times are the database's, so the clocks of workers do not matter.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    Connection,
    Row,
    Text,
    and_,
    bindparam,
    column,
    func,
    literal,
    select,
    text,
    tuple_,
    update,
)

from crewyard_runtime.execution.messages import Failure, Outcome
from crewyard_runtime.store import events, webhooks
from crewyard_runtime.store.intake import NewRun, submit
from crewyard_runtime.store.schema import attempts, runs
from crewyard_runtime.usage import Usage

ENDED = ("succeeded", "failed", "timed_out", "cancelled", "dead")
STATUSES = ("queued", "running", *ENDED)
CLAIM_LOCK = 7_261_002  # claims go one after the other, so that a user's bound is exact


@dataclass(frozen=True)
class Claim:
    """A run that this worker holds: its attempt's number is the fence for all it writes."""

    id: UUID
    attempt: int
    application: str
    user_id: str | None
    input: Any
    request_id: str | None


@dataclass(frozen=True)
class Ended:
    """What became of an attempt that did not end its run by itself: the run's new status."""

    id: UUID
    attempt: int
    status: str


@dataclass(frozen=True)
class Page:
    """Some runs, newest first, and the place after which the next page begins; None at the end."""

    runs: list[Row[Any]]
    next: tuple[datetime, UUID] | None = field(default=None)


class NotNow(Exception):
    """The run is in no state for this; the message says in which."""


def waiting(tx: Connection, most: int) -> int:
    """How many runs are queued, counted up to `most`."""
    some = select(literal(1)).where(runs.c.status == "queued").limit(most).subquery()
    return int(tx.execute(select(func.count()).select_from(some)).scalar_one())


def claim(
    tx: Connection, worker: str, applications: Iterable[str], lease_seconds: float, runs_per_user: int
) -> Claim | None:
    """Take the oldest run that may start, or None: queued, of a known application, its user below the bound."""
    tx.execute(text(f"SELECT pg_advisory_xact_lock({CLAIM_LOCK})"))
    row = tx.execute(
        _CLAIM,
        {"worker": worker, "applications": list(applications), "lease": lease_seconds, "bound": runs_per_user},
    ).one_or_none()
    return None if row is None else _claim_of(row)


def start_at_once(tx: Connection, run: NewRun, worker: str, lease_seconds: float) -> Claim:
    """Take a run in that whoever submits it also does: it never was in the queue of the workers."""
    submit(tx, run)
    return _claim_of(tx.execute(_CLAIM_ONE, {"id": run.id, "worker": worker, "lease": lease_seconds}).one())


def renew(tx: Connection, claim: Claim, lease_seconds: float) -> bool | None:
    """Hold the run for another lease. True: go on; False: its cancellation is wanted; None: it is not ours any more."""
    wanted: bool | None = tx.execute(
        update(runs).where(_held(claim)).values(lease_until=_after(lease_seconds)).returning(runs.c.cancel_requested)
    ).scalar_one_or_none()
    return None if wanted is None else not wanted


def finish(tx: Connection, claim: Claim, outcome: Outcome) -> bool:
    """Record how the run ended. False, and nothing is recorded, if the attempt does not hold the run any more."""
    return _end_attempt(tx, claim, outcome.status, outcome, outcome.status) is not None


def lose(tx: Connection, claim: Claim, outcome: Outcome) -> str | None:
    """Record that the attempt died without a result: the run's new status, or None if it was not ours any more."""
    held = _hold(tx, claim)
    if held is None:
        return None
    again = "dead" if held.lost + 1 >= held.max_attempts else "queued"
    return _end_attempt(tx, claim, "lost", outcome, "cancelled" if held.cancel_requested else again)


def give_back(tx: Connection, claim: Claim, outcome: Outcome) -> str | None:
    """Put the run back untouched, because this worker has to stop; the attempt does not count as one that died."""
    held = _hold(tx, claim)
    if held is None:
        return None
    return _end_attempt(tx, claim, "returned", outcome, "cancelled" if held.cancel_requested else "queued")


def sweep(tx: Connection) -> list[Ended]:
    """End the attempts whose lease has run out: their runs are queued again, or dead."""
    expired = tx.execute(
        select(runs)
        .where(runs.c.status == "running", runs.c.lease_until < func.clock_timestamp())
        .with_for_update(skip_locked=True)
    ).all()
    ended = []
    for row in expired:
        held = Claim(row.id, row.attempt, row.application, row.user_id, row.input, row.request_id)
        reason = f"The worker {row.worker} died or froze: it did not renew its lease."
        outcome = Outcome(run_id=str(row.id), status="failed", error=Failure(reason=reason), died=True)
        status = lose(tx, held, outcome)
        if status is not None:
            ended.append(Ended(row.id, row.attempt, status))
    return ended


def may_start(tx: Connection, applications: Iterable[str], runs_per_user: int) -> bool:
    """Whether `claim` would find a run."""
    found = tx.execute(_MAY_START, {"applications": list(applications), "bound": runs_per_user}).scalar()
    return bool(found)


def cancel(tx: Connection, run_id: UUID) -> str:
    """End a queued run now, and a running one as soon as its worker hears of it; returns the status.

    An ended run stays as it is.
    """
    row = tx.execute(
        select(runs.c.status, runs.c.attempt, runs.c.cancel_requested, runs.c.webhook_url)
        .where(runs.c.id == run_id)
        .with_for_update()
    ).one()
    if row.status == "running" and not row.cancel_requested:
        tx.execute(update(runs).where(runs.c.id == run_id).values(cancel_requested=True))
        events.append(tx, run_id, row.attempt, "run.cancel_requested", {})
    if row.status == "queued":
        error = {"reason": "The run was cancelled before it started.", "chain": []}
        tx.execute(
            update(runs).where(runs.c.id == run_id).values(status="cancelled", error=error, finished_at=func.now())
        )
        _told(tx, run_id, row.attempt, "cancelled", row.webhook_url)
        return "cancelled"
    return str(row.status)


def count_of_user(tx: Connection, user_id: str) -> tuple[int, int]:
    """How many runs of a user are kept, and how many of them have not ended."""
    mine = select(func.count(), func.count().filter(runs.c.status.in_(("queued", "running"))))
    kept, going_on = tx.execute(mine.where(runs.c.user_id == user_id)).one()
    return kept, going_on


def retry(tx: Connection, run_id: UUID, max_attempts: int) -> None:
    """Queue an ended run again, with as many attempts as a new one. Raises NotNow for any other, and for a success."""
    row = tx.execute(select(runs.c.status, runs.c.attempt).where(runs.c.id == run_id).with_for_update()).one()
    if row.status not in ENDED or row.status == "succeeded":
        msg = f"The run is {row.status}: only one that failed, timed out, was cancelled or is dead can be done again."
        raise NotNow(msg)
    tx.execute(
        update(runs)
        .where(runs.c.id == run_id)
        .values(
            status="queued",
            error=None,
            lost=0,
            max_attempts=max_attempts,
            cancel_requested=False,
            queued_at=func.now(),
            finished_at=None,
        )
    )
    events.append(tx, run_id, row.attempt, "run.queued", {"again": True})


def find(tx: Connection, run_id: UUID, user_id: str | None = None) -> Row[Any] | None:
    """The run; None if there is none, or if it is not `user_id`'s (None: an operator, who sees all)."""
    wanted = select(runs).where(runs.c.id == run_id)
    return tx.execute(wanted if user_id is None else wanted.where(runs.c.user_id == user_id)).one_or_none()


def attempts_of(tx: Connection, run_id: UUID) -> list[Row[Any]]:
    """The attempts of a run, the first one first."""
    return list(tx.execute(select(attempts).where(attempts.c.run_id == run_id).order_by(attempts.c.number)))


def page(
    tx: Connection,
    user_id: str | None,
    status: str | None = None,
    after: tuple[datetime, UUID] | None = None,
    size: int = 50,
) -> Page:
    """Some runs, newest first, of one user or (None) of all."""
    wanted = {runs.c.user_id: user_id, runs.c.status: status}
    given = {column: value for column, value in wanted.items() if value is not None}
    place = (*given, runs.c.created_at, runs.c.id)
    shown = [each for each in runs.c if each.name not in ("input", "output")]
    newest = select(*shown).order_by(*(column.desc() for column in place)).limit(size + 1)
    # A range of one value, not an equality: for that Postgres may walk the index in which everybody's runs are mixed,
    # and pass all that are newer than those of a user who has not been here for long.
    if given:
        newest = newest.where(tuple_(*given) >= tuple(given.values()))
    if after is not None:
        newest = newest.where(tuple_(*place) < (*given.values(), *after))
    elif given:
        newest = newest.where(tuple_(*given) <= tuple(given.values()))
    found = list(tx.execute(newest))
    more = len(found) > size
    return Page(found[:size], (found[size - 1].created_at, found[size - 1].id) if more else None)


def prune(tx: Connection, days: float, most: int = 1_000) -> int:
    """Delete up to `most` runs that ended more than `days` days ago, with all of theirs; returns how many."""
    before = func.now() - func.make_interval(0, 0, 0, 0, 0, 0, days * 86_400)
    old = (
        select(runs.c.id)
        .where(runs.c.created_at < before, runs.c.finished_at < before)
        .order_by(runs.c.created_at, runs.c.id)
        .limit(most)
        .with_for_update(skip_locked=True)
    )
    return tx.execute(runs.delete().where(runs.c.id.in_(old))).rowcount


_CLAIMED = (runs.c.id, runs.c.attempt, runs.c.application, runs.c.user_id, runs.c.input, runs.c.request_id)

_ELIGIBLE = """
    FROM runs WHERE status = 'queued' AND application = ANY(:applications)
    AND (user_id IS NULL OR user_id NOT IN (
        SELECT user_id FROM runs WHERE status = 'running' AND user_id IS NOT NULL
        GROUP BY user_id HAVING count(*) >= :bound
    ))
"""
_MAY_START = text(f"SELECT EXISTS (SELECT 1 {_ELIGIBLE})")


def _claiming(which: str) -> Any:
    """The claim of one run: one statement, because whoever waits for an idle worker waits for each of its parts."""
    statement = f"""
        WITH run AS (
            UPDATE runs SET status = 'running', attempt = attempt + 1, events = events + 1, worker = :worker,
                lease_until = clock_timestamp() + make_interval(secs => :lease),
                started_at = coalesce(started_at, now())
            WHERE id = ({which})
            RETURNING id, attempt, application, user_id, input, request_id, events
        ), attempt AS (
            INSERT INTO attempts (run_id, number, worker) SELECT id, attempt, :worker FROM run
        ), event AS (
            INSERT INTO events (run_id, number, attempt, kind, data)
            SELECT id, events, attempt, 'attempt.started', json_build_object('attempt', attempt, 'worker', :worker)
            FROM run
        )
        SELECT id, attempt, application, user_id, input, request_id, pg_notify(:channel, id::text) FROM run
    """
    return (
        text(statement)
        .bindparams(bindparam("worker", type_=Text), bindparam("channel", events.CHANNEL))
        .columns(*_CLAIMED, column("told"))
    )


_CLAIM = _claiming(f"SELECT id {_ELIGIBLE} ORDER BY queued_at, id LIMIT 1 FOR UPDATE SKIP LOCKED")
_CLAIM_ONE = _claiming("SELECT CAST(:id AS uuid)")


def _claim_of(row: Row[Any]) -> Claim:
    return Claim(row.id, row.attempt, row.application, row.user_id, row.input, row.request_id)


def _held(claim: Claim) -> Any:
    return and_(runs.c.id == claim.id, runs.c.attempt == claim.attempt, runs.c.status == "running")


def _after(seconds: float) -> Any:
    return func.clock_timestamp() + func.make_interval(0, 0, 0, 0, 0, 0, seconds)


def _hold(tx: Connection, claim: Claim) -> Any:
    """Lock the run's row until the transaction ends; None if the attempt does not hold the run any more."""
    wanted = select(runs.c.cancel_requested, runs.c.lost, runs.c.max_attempts).where(_held(claim))
    return tx.execute(wanted.with_for_update()).one_or_none()


def _end_attempt(tx: Connection, claim: Claim, attempt_status: str, outcome: Outcome, status: str) -> str | None:
    """Take the run from its attempt, give it its new status, and tell everybody; None if it was not the attempt's."""
    ends = status in ENDED
    lost = 1 if attempt_status == "lost" else 0
    run = tx.execute(
        update(runs)
        .where(_held(claim))
        .values(
            status=status,
            output=outcome.output,
            error=_plain(outcome.error),
            lost=runs.c.lost + lost,
            lease_until=None,
            finished_at=func.clock_timestamp() if ends else None,
            **_added(outcome.usage),
        )
        .returning(runs.c.webhook_url)
    ).one_or_none()
    if run is None:
        return None
    tx.execute(
        update(attempts)
        .where(attempts.c.run_id == claim.id, attempts.c.number == claim.attempt)
        .values(
            status=attempt_status,
            error=_plain(outcome.error),
            finished_at=func.clock_timestamp(),
            build_seconds=outcome.build_seconds,
            run_seconds=outcome.run_seconds,
            **outcome.usage.model_dump(),
        )
    )
    if not ends or lost:
        reason = outcome.error.reason if outcome.error else ""
        events.append(tx, claim.id, claim.attempt, f"attempt.{attempt_status}", {"reason": reason})
    if ends:
        _told(tx, claim.id, claim.attempt, status, run.webhook_url)
    return status


def _told(tx: Connection, run_id: UUID, attempt: int, status: str, webhook_url: str | None) -> None:
    events.append(tx, run_id, attempt, events.ENDED, {"status": status})
    if webhook_url is not None:
        webhooks.enqueue(tx, run_id)


def _added(used: Usage) -> dict[str, Any]:
    # In SQL null + 1 is null: a cost once unknown stays unknown.
    return {
        "model_calls": runs.c.model_calls + used.model_calls,
        "prompt_tokens": runs.c.prompt_tokens + used.prompt_tokens,
        "completion_tokens": runs.c.completion_tokens + used.completion_tokens,
        "cost_usd": runs.c.cost_usd + used.cost_usd,
    }


def _plain(error: Failure | None) -> Any:
    return None if error is None else error.model_dump(mode="json")
