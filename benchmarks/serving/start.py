"""How soon an idle worker starts a run that was accepted, against Celery alone, for each broker."""

import statistics
import time
import uuid
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from uuid import UUID

from celery import Celery
from crewyard_runtime.store import events
from crewyard_runtime.testing.servers import Sqs
from crewyard_runtime.testing.service import Service, until
from report import Measured

from serving import celery_alone
from serving.client import Client
from serving.ground import BROKERS, Ground

SAMPLES = 100
WARM = 5


def measure(ground: Ground) -> Iterator[Measured]:
    """One run at a time, in turns with one task of Celery's."""
    for kind in BROKERS:
        broker = ground.broker(kind)
        url = broker.url + broker.endpoint_url.partition("://")[2] if isinstance(broker, Sqs) else broker.url
        marks, publisher = ground.directory(), celery_alone.make_app(url)
        alone = ground.program(celery_alone.BANNER, *celery_alone.WORKER, BROKER_URL=url)
        with ground.service(kind) as service, alone:
            service.start_worker()
            service.start_api()
            client = Client(service.api_url, service.key())
            pairs = [(_ours(service, client), _theirs(publisher, marks)) for _ in range(WARM + SAMPLES)][WARM:]
        ours, theirs = zip(*pairs, strict=True)
        for name, of in (("p50", statistics.median), ("p95", p95)):
            yield Measured(f"accepted to claimed, {kind}, {name}", of(ours) * 1e3, of(theirs) * 1e3, "ms", 2)


def _ours(service: Service, client: Client) -> float:
    """From the first statement of the transaction that takes the run in, to the event that its claim writes."""
    run_id = client.submit({})
    service.until_ended([run_id])
    return (moment(service, run_id, "attempt.started") - service.run(run_id).created_at).total_seconds()


def _theirs(publisher: Celery, marks: Path) -> float:
    """From before the message is published to the first line of the task."""
    mark = marks / str(uuid.uuid4())
    published = time.time()
    publisher.send_task(celery_alone.TASK, [str(mark)])
    return float(until("the start of a task", lambda: mark.exists() and mark.read_text())) - published


def moment(service: Service, run_id: UUID, kind: str) -> datetime:
    """When an event of a run was written."""
    with service.database.transaction() as tx:
        at: datetime = next(event.at for event in events.after(tx, run_id, 0) if event.kind == kind)
    return at


def p95(samples: Sequence[float]) -> float:
    """The 95th percentile."""
    return statistics.quantiles(samples, n=20)[-1]
