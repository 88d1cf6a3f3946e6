"""What happened in a run, numbered within it; each new one wakes whoever follows the run."""

from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, func, insert, select, text, update

from crewyard_runtime.store.schema import events, runs

CHANNEL = "crewyard_runs"  # the payload is the run's id
ENDED = "run.ended"  # the last event of a run, unless it is retried


def append(tx: Connection, run_id: UUID, attempt: int, kind: str, data: dict[str, Any]) -> None:
    """Add an event of the platform itself; the caller's statements before have locked the run's row."""
    _insert(tx, run_id, attempt, [(kind, data)], update(runs).where(runs.c.id == run_id))


def append_if_held(tx: Connection, run_id: UUID, attempt: int, new: list[tuple[str, dict[str, Any]]]) -> bool:
    """Add events of an attempt. False, and nothing is added, if the attempt does not hold the run any more."""
    held = update(runs).where(runs.c.id == run_id, runs.c.attempt == attempt, runs.c.status == "running")
    return _insert(tx, run_id, attempt, new, held)


def after(tx: Connection, run_id: UUID, number: int, most: int = 500) -> list[Row[Any]]:
    """The events of a run after the one numbered `number`, in their order."""
    wanted = select(events).where(events.c.run_id == run_id, events.c.number > number)
    return list(tx.execute(wanted.order_by(events.c.number).limit(most)))


def _insert(tx: Connection, run_id: UUID, attempt: int, new: list[tuple[str, dict[str, Any]]], counting: Any) -> bool:
    last = tx.execute(counting.values(events=runs.c.events + len(new)).returning(runs.c.events)).scalar_one_or_none()
    if last is None:
        return False
    first = last - len(new) + 1
    rows = [
        {"run_id": run_id, "number": number, "attempt": attempt, "kind": kind, "data": data}
        for number, (kind, data) in enumerate(new, first)
    ]
    tx.execute(insert(events), rows)
    tx.execute(select(func.pg_notify(text(f"'{CHANNEL}'"), str(run_id))))
    return True
