"""How many runs a second 1, 2 and 4 workers finish, on a model that takes a second for its answer."""

import statistics
from collections.abc import Iterator
from datetime import UTC, datetime

from crewyard_runtime.testing.model_server import ModelServer
from report import Measured
from sqlalchemy import text

from serving.ground import Ground, finish

TURNS = 2
RUNS_OF_EACH = 12
WORKERS = (1, 2, 4)
SPENT = text(
    "SELECT extract(epoch FROM max(finished_at) - min(started_at)) FROM attempts WHERE started_at > :counted_from"
)
ONE_CALL = {"seconds": 0.001, "tick": 0.001}


def measure(ground: Ground) -> Iterator[Measured]:
    """Each number of workers against so many times what one worker does."""
    taken: dict[int, list[float]] = {workers: [] for workers in WORKERS}
    with ModelServer() as model:
        model.fail("slow", times=None, seconds=1)
        for _ in range(TURNS):
            for workers in WORKERS:
                taken[workers].append(_seconds(ground, workers, model.url))
    rates = {workers: workers * RUNS_OF_EACH / statistics.median(seconds) for workers, seconds in taken.items()}
    for workers in WORKERS[1:]:
        ideal = workers * rates[1]
        yield Measured(f"throughput, {workers} workers", rates[workers], ideal, "runs/s", 0.97, at_least=True)


def _seconds(ground: Ground, workers: int, model_url: str) -> float:
    """From the first claim to the last end, after a run for each worker that is not counted: it opens connections."""
    with ground.service(variables={"OPENAI_BASE_URL": model_url}) as service:
        service.start_workers(workers)
        finish(service, *[ONE_CALL] * workers)
        counted_from = datetime.now(UTC)
        finish(service, *[ONE_CALL] * (workers * RUNS_OF_EACH))
        with service.database.transaction() as tx:
            return float(tx.execute(SPENT, {"counted_from": counted_from}).scalar_one())
