"""Hundreds of runs while servers and workers fail at random: `pytest -m soak`, with a report at the end."""

import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from crewyard_runtime.store import events
from crewyard_runtime.testing.failures import guard
from crewyard_runtime.testing.servers import Broker, Postgres
from crewyard_runtime.testing.service import LEASE_SECONDS, Service, freeze, thaw

RUNS = 400
WORKERS = 4
PAUSE = (0.5, 4.0)  # seconds between two faults


@pytest.mark.soak
@pytest.mark.guards("F19")
def test_every_run_ends_once_while_anything_fails(
    service: Service, postgres: Postgres, broker: Broker, record_property: Callable[[str, object], None]
) -> None:
    seed = random.randrange(10**6)
    chance = random.Random(seed)
    ids = service.submit(
        *[{"text": str(number), "seconds": chance.choice([0, 0.2, 0.5, 3])} for number in range(RUNS)], max_attempts=30
    )
    service.stand(WORKERS)
    faults, seen = Faults(service, postgres, broker, chance), Counter[str]()
    started, deadline = time.monotonic(), time.monotonic() + 1_200
    while _waiting(service, ids) and time.monotonic() < deadline:
        time.sleep(chance.uniform(*PAUSE))
        seen[faults.any()] += 1
        service.stand(WORKERS)
    record_property("report", f"seed {seed}: {RUNS} runs on {WORKERS} workers in {time.monotonic() - started:.0f} s")
    record_property("report", f"faults: {', '.join(f'{count} {name}' for name, count in seen.most_common())}")
    ended = service.until_ended(ids, 120)
    attempts = [service.attempts(run_id) for run_id in ids]
    states = Counter(attempt.status for each in attempts for attempt in each)
    record_property("report", f"attempts: {', '.join(f'{count} {name}' for name, count in states.most_common())}")
    waits = sorted((run.finished_at - run.created_at).total_seconds() for run in ended.values())
    record_property("report", f"from request to end: p50 {waits[RUNS // 2]:.0f} s, p95 {waits[RUNS * 95 // 100]:.0f} s")
    guard("F19", [f"run {run.id} is {run.status}: {run.error}" for run in ended.values() if run.status != "succeeded"])
    with service.database.transaction() as tx:
        ends = [sum(event.kind == events.ENDED for event in events.after(tx, run_id, 0)) for run_id in ids]
    guard("F19", [f"a run has {count} recorded ends" for count in ends if count != 1])
    assert [run.output["text"] for run in map(service.run, ids)] == [str(number) for number in range(RUNS)]


def _waiting(service: Service, ids: list[Any]) -> bool:
    return any(service.run(run_id).status in ("queued", "running") for run_id in ids)


@dataclass
class Faults:
    """What can go wrong; each fault gives its name."""

    service: Service
    postgres: Postgres
    broker: Broker
    chance: random.Random

    def any(self) -> str:
        """One of them, or none."""
        does_it = [self.kill, self.stop, self.freeze, self.restart_broker, self.flush, self.restart_database]
        return self.chance.choice([*does_it, *[self.wait] * 3])()

    def wait(self) -> str:
        """So that something gets done."""
        return "quiet moment"

    def kill(self) -> str:
        """As the kernel does when memory is short."""
        self.service.kill_only(self.chance.choice(self.service.workers))
        return "kill -9 of a worker"

    def stop(self) -> str:
        """As a deployment does."""
        worker = self.chance.choice(self.service.workers)
        worker.terminate()
        worker.wait(20)
        return "SIGTERM of a worker"

    def freeze(self) -> str:
        """As a paused machine does."""
        worker = self.chance.choice(self.service.workers)
        freeze(worker)
        time.sleep(LEASE_SECONDS * self.chance.uniform(0.5, 2))
        thaw(worker)
        return "frozen worker"

    def restart_broker(self) -> str:
        """With what it keeps."""
        self.broker.restart()
        return "restart of the broker"

    def flush(self) -> str:
        """All wake-up calls are lost."""
        self.broker.flush()
        return "flush of the broker"

    def restart_database(self) -> str:
        """As a fail-over does."""
        self.postgres.restart()
        return "restart of the database"
