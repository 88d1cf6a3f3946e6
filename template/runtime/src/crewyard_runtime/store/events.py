"""What happened in a run, numbered within it; each new one wakes whoever follows the run."""

from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, JSON, Connection, Integer, Row, Text, TextClause, Uuid, bindparam, select, text

from crewyard_runtime.store.schema import events

CHANNEL = "crewyard_runs"  # the payload is the run's id
ENDED = "run.ended"  # the last event of a run, unless it is retried


def append(tx: Connection, run_id: UUID, attempt: int, kind: str, data: dict[str, Any]) -> None:
    """Add an event of the platform itself; the caller's statements before have locked the run's row."""
    _insert(tx, _APPEND, run_id, attempt, [(kind, data)])


def append_if_held(tx: Connection, run_id: UUID, attempt: int, new: list[tuple[str, dict[str, Any]]]) -> bool:
    """Add events of an attempt. False, and nothing is added, if the attempt does not hold the run any more."""
    return _insert(tx, _APPEND_IF_HELD, run_id, attempt, new)


def after(tx: Connection, run_id: UUID, number: int, most: int = 500) -> list[Row[Any]]:
    """The events of a run after the one numbered `number`, in their order."""
    wanted = select(events).where(events.c.run_id == run_id, events.c.number > number)
    return list(tx.execute(wanted.order_by(events.c.number).limit(most)))


def _insert(
    tx: Connection, statement: TextClause, run_id: UUID, attempt: int, new: list[tuple[str, dict[str, Any]]]
) -> bool:
    kinds, data = zip(*new, strict=True)
    values = {"run_id": run_id, "attempt": attempt, "count": len(new), "kinds": list(kinds), "data": list(data)}
    return tx.execute(statement, values).one_or_none() is not None


_TYPES: dict[str, Any] = {
    "run_id": Uuid,
    "attempt": Integer,
    "count": Integer,
    "kinds": ARRAY(Text),
    "data": ARRAY(JSON),
}


def _append(condition: str) -> TextClause:
    # One statement, and not an executemany: psycopg would send that as a pipeline, and a worker frozen in the middle of
    # one holds the run's row for as long as it is frozen: Postgres counts it as active, not as idle in a transaction.
    return text(
        f"""
        WITH counted AS (
            UPDATE runs SET events = events + :count WHERE id = :run_id {condition} RETURNING events - :count AS before
        ), added AS (
            INSERT INTO events (run_id, number, attempt, kind, data)
            SELECT :run_id, counted.before + new.number, :attempt, new.kind, new.data
            FROM counted, unnest(:kinds, :data) WITH ORDINALITY AS new(kind, data, number)
        )
        SELECT pg_notify('{CHANNEL}', CAST(:run_id AS text)) FROM counted
        """
    ).bindparams(*(bindparam(name, type_=kind) for name, kind in _TYPES.items()))


_APPEND = _append("")
_APPEND_IF_HELD = _append("AND attempt = :attempt AND status = 'running'")
