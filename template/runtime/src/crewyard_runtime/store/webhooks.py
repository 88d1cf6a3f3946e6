"""Completion webhooks that are to be delivered: noted in the transaction that ends a run, so none is forgotten."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update

from crewyard_runtime.store.schema import runs, webhooks

LEASE_SECONDS = 60  # a delivery that its worker did not survive is tried again after this


@dataclass(frozen=True)
class Delivery:
    """One webhook to be sent now. tries: this one included."""

    id: int
    url: str
    body: dict[str, Any]
    tries: int


def enqueue(tx: Connection, run_id: Any) -> None:
    """Note the webhook of a run that has just ended, and asked for one."""
    run = tx.execute(select(runs).where(runs.c.id == run_id)).one()
    tx.execute(insert(webhooks).values(run_id=run_id, url=run.webhook_url, body=_body(run), tries=0))


def claim(tx: Connection) -> Delivery | None:
    """Take the webhook that is due longest, or None; nobody else gets it for LEASE_SECONDS."""
    due = (
        select(webhooks.c.id)
        .where(webhooks.c.due_at <= func.now())
        .order_by(webhooks.c.due_at)
        .limit(1)
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    row = tx.execute(
        update(webhooks)
        .where(webhooks.c.id == due)
        .values(tries=webhooks.c.tries + 1, due_at=_after(LEASE_SECONDS))
        .returning(webhooks.c.id, webhooks.c.url, webhooks.c.body, webhooks.c.tries)
    ).one_or_none()
    return None if row is None else Delivery(*row)


def delivered(tx: Connection, delivery: Delivery) -> None:
    """Record that the target took it."""
    _set(tx, delivery, due_at=None, delivered_at=func.now(), last_error=None)


def failed(tx: Connection, delivery: Delivery, error: str, again_after_seconds: float | None) -> None:
    """Record why it was not taken, and when to try again; None gives up."""
    due = None if again_after_seconds is None else _after(again_after_seconds)
    _set(tx, delivery, due_at=due, last_error=error[:2_000])


def _body(run: Row[Any]) -> dict[str, Any]:
    # What happened, not what the run's row says when this is sent: it may be retried meanwhile.
    return {
        "type": f"run.{run.status}",
        "timestamp": run.finished_at.isoformat(),
        "data": {
            "id": str(run.id),
            "application": run.application,
            "status": run.status,
            "output": run.output,
            "error": run.error and run.error["reason"],
        },
    }


def _set(tx: Connection, delivery: Delivery, **values: Any) -> None:
    tx.execute(update(webhooks).where(webhooks.c.id == delivery.id).values(**values))


def _after(seconds: float) -> Any:
    return func.now() + func.make_interval(0, 0, 0, 0, 0, 0, seconds)
