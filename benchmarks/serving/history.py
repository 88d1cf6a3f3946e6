"""What the store's work costs with a million finished runs in it, against a thousand."""

import statistics
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from crewyard_runtime.execution import Outcome
from crewyard_runtime.store import Database, intake, runs
from report import Measured
from sqlalchemy import Connection, text

from serving.ground import Ground

FEW, MANY = 1_000, 1_000_000
TIMES = 200
USER, FORMER_USER, USERS = "user-1", "former", 4
APPLICATION = "faulty"
DAYS = 20
RETENTION_DAYS = 15

# Runs of the last days, the users' and the statuses' mixed, but the oldest tenth is all one user's; with what a short
# run leaves beside its row.
FILL = (
    """
    INSERT INTO runs (id, application, user_id, status, input, output, attempt, max_attempts, worker, events,
        created_at, queued_at, started_at, finished_at)
    SELECT gen_random_uuid(), 'faulty',
        CASE WHEN number > 0.9 * :runs THEN 'former' ELSE 'user-' || number % :users END,
        (ARRAY['succeeded', 'failed', 'timed_out', 'cancelled', 'dead'])[number / :users % 5 + 1],
        '{"text": "a ticket"}', '{"text": "an answer"}', 1, 3, 'worker', 2, at, at, at, at + interval '1 second'
    FROM generate_series(1, :runs) AS number,
        LATERAL (SELECT now() - number * interval '1 day' * :days / :runs AS at) AS moment
    """,
    """
    INSERT INTO attempts (run_id, number, worker, status, started_at)
    SELECT id, 1, worker, 'succeeded', started_at FROM runs
    """,
    """
    INSERT INTO events (run_id, number, attempt, kind, data)
    SELECT id, number, 1, 'run.started', '{}' FROM runs, generate_series(1, 2) AS number
    """,
)


def measure(ground: Ground) -> Iterator[Measured]:
    """Each statement in turns on both."""
    few, many = (_filled(ground.database(), count) for count in (FEW, MANY))
    for name, step in STEPS.items():
        pairs = [(step(many), step(few)) for _ in range(TIMES)]
        ours, theirs = (statistics.median(side) * 1_000 for side in zip(*pairs, strict=True))
        yield Measured(f"history, {name}", ours, theirs, "ms", 1.5)
    few.close()
    many.close()


def _filled(url: str, count: int) -> Database:
    database = Database(url)
    with database.transaction() as tx:
        for statement in FILL:
            tx.execute(text(statement), {"runs": count, "users": USERS, "days": DAYS} if ":runs" in statement else {})
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))
    return database


def _claim(database: Database) -> float:
    """Of the one run that is queued."""
    with database.transaction() as tx:
        intake.submit(tx, intake.NewRun(uuid.uuid4(), APPLICATION, USER, {}, 3))
    start = time.perf_counter()
    with database.transaction() as tx:
        claim = runs.claim(tx, "worker", [APPLICATION], 60, 10)
    seconds = time.perf_counter() - start
    assert claim is not None
    with database.transaction() as tx:
        runs.finish(tx, claim, Outcome(run_id=str(claim.id), status="succeeded"))
    return seconds


def _timed(step: Callable[[Connection], Any]) -> Callable[[Database], float]:
    def seconds(database: Database) -> float:
        start = time.perf_counter()
        with database.transaction() as tx:
            step(tx)
        return time.perf_counter() - start

    return seconds


def _old(tx: Connection) -> None:
    """The cursor is as far from both ends as it can be."""
    runs.page(tx, USER, after=(datetime.now(UTC) - timedelta(days=DAYS / 2), uuid.UUID(int=0)))


STEPS: dict[str, Callable[[Database], float]] = {
    "claim": _claim,
    "sweep": _timed(runs.sweep),
    "list of all": _timed(lambda tx: runs.page(tx, None)),
    "list by status": _timed(lambda tx: runs.page(tx, None, "failed")),
    "list of a user": _timed(lambda tx: runs.page(tx, USER)),
    "list of a user, its middle": _timed(_old),
    "list of a former user": _timed(lambda tx: runs.page(tx, FORMER_USER)),
    "prune": _timed(lambda tx: runs.prune(tx, RETENTION_DAYS, 1)),
}
