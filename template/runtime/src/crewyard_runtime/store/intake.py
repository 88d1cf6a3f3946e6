"""How a new run is written: by one statement, because ten of them would be most of what taking a run in costs."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, Connection, Integer, Row, Select, Text, Uuid, bindparam, select, text

from crewyard_runtime.store.schema import idempotency_keys, runs

UNBOUND = 2**31 - 1


@dataclass(frozen=True)
class NewRun:
    """A run to be taken in. max_attempts: how many may die before it is dead."""

    id: UUID
    application: str
    user_id: str | None
    input: Any
    max_attempts: int
    request_id: str | None = None
    webhook_url: str | None = None


@dataclass(frozen=True)
class Submitted:
    """run: None if nothing was written, because the key was used before or too many runs wait.

    waiting: how many runs were queued before, counted as far as was asked for.
    """

    run: Row[Any] | None
    waiting: int


class IdempotencyConflict(Exception):
    """The key was used before, with another request."""


def submit(
    tx: Connection,
    run: NewRun,
    key: str | None = None,
    request_hash: str = "",
    actor: str | None = None,
    bound: int = UNBOUND,
    count_to: int = 0,
) -> Submitted:
    """Take a run in, unless `key` was used before or `bound` runs wait: the run, its first event, its key.

    actor: who is to be named in the audit. count_to: how far the waiting runs are counted. All of it is one statement.
    """
    values = {
        "id": run.id,
        "application": run.application,
        "user_id": run.user_id,
        "input": run.input,
        "max_attempts": run.max_attempts,
        "request_id": run.request_id,
        "webhook_url": run.webhook_url,
        "key": key,
        "request_hash": request_hash,
        "event": {"application": run.application},
        "actor": actor,
        "bound": bound,
        "count_to": count_to,
    }
    row = tx.execute(_SUBMIT, values).one()
    return Submitted(row if row.id is not None else None, row.waiting)


def submitted_with(tx: Connection, user_id: str, key: str, request_hash: str) -> Row[Any] | None:
    """The run that a user's key was used for, if it was. Raises IdempotencyConflict if that was another request."""
    wanted: Select[Any] = select(*runs.c, idempotency_keys.c.request_hash).join_from(idempotency_keys, runs)
    row = tx.execute(wanted.where(idempotency_keys.c.user_id == user_id, idempotency_keys.c.key == key)).one_or_none()
    if row is not None and row.request_hash != request_hash:
        msg = f"The idempotency key {key!r} was used for another request: use a new key for each new run."
        raise IdempotencyConflict(msg)
    return row


_COLUMNS = ", ".join(f"run.{column.name}" for column in runs.c)
_TYPES = {"id": Uuid, "input": JSON, "event": JSON, "max_attempts": Integer, "bound": Integer, "count_to": Integer}
_NAMES = ("application", "user_id", "request_id", "webhook_url", "key", "request_hash", "actor", *_TYPES)

# A key that another transaction is about to keep is waited for.
_SUBMIT = (
    text(f"""
        WITH queue AS (
            SELECT count(*) AS waiting FROM (SELECT FROM runs WHERE status = 'queued' LIMIT :count_to) AS queued
        ), kept AS (
            INSERT INTO idempotency_keys (user_id, key, request_hash, run_id)
            SELECT :user_id, :key, :request_hash, :id FROM queue WHERE waiting < :bound AND :key IS NOT NULL
            ON CONFLICT DO NOTHING
            RETURNING key
        ), run AS (
            INSERT INTO runs (id, application, user_id, status, input, max_attempts, request_id, webhook_url, events)
            SELECT :id, :application, :user_id, 'queued', :input, :max_attempts, :request_id, :webhook_url, 1
            FROM queue WHERE waiting < :bound AND (:key IS NULL OR EXISTS (SELECT FROM kept))
            RETURNING *
        ), event AS (
            INSERT INTO events (run_id, number, attempt, kind, data) SELECT id, 1, 0, 'run.queued', :event FROM run
        ), noted AS (
            INSERT INTO audit (actor, action, subject, user_id, request_id)
            SELECT :actor, 'run.submitted', id::text, user_id, request_id FROM run WHERE :actor IS NOT NULL
        )
        SELECT {_COLUMNS}, queue.waiting FROM queue LEFT JOIN run ON true
    """)
    .bindparams(*(bindparam(name, type_=_TYPES.get(name, Text)) for name in _NAMES))
    .columns(*runs.c)
)
