"""How long a run waits for its next attempt after its worker was killed, for each broker."""

from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import UUID

from crewyard_runtime.store import events, runs
from crewyard_runtime.testing.service import LEASE_SECONDS, Service, until
from report import Measured

from serving.ground import Ground, wake_ups_of

KILLS = 3
MARGIN_SECONDS = 2


def measure(ground: Ground) -> Iterator[Measured]:
    """The slowest of several, from the kill to the next claim, as attempts record it."""
    for kind in ground.kinds():
        with ground.service(kind) as service:
            service.start_worker()
            slowest = max(_seconds(service) for _ in range(KILLS))
        yield Measured(f"recovery, {kind}", slowest, LEASE_SECONDS + MARGIN_SECONDS, "s", 1)


def _seconds(service: Service) -> float:
    """One worker waits; the other is killed as soon as its run goes on, when its lease is still almost whole."""
    service.start_worker()
    run_id = service.submit({"seconds": 600})[0]
    wake_ups_of(service).send()
    until("the start of a run", lambda: _has(service, run_id, "run.started"))
    killed_at = datetime.now(UTC)
    service.kill_only(service.worker_of(run_id))
    again = until("the next attempt", lambda: service.attempts(run_id)[1:])[0]
    with service.database.transaction() as tx:
        runs.cancel(tx, run_id)
    service.until_status(run_id, "cancelled")
    return float((again.started_at - killed_at).total_seconds())


def _has(service: Service, run_id: UUID, kind: str) -> bool:
    with service.database.transaction() as tx:
        return any(event.kind == kind for event in events.after(tx, run_id, 0))
