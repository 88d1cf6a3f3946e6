"""How soon an idle worker starts a run that was accepted, against Celery alone, for each broker."""

import statistics
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

from celery import Celery
from crewyard_runtime.jobs.wake_ups import WakeUps
from crewyard_runtime.store import events
from crewyard_runtime.testing.model_server import ModelServer
from crewyard_runtime.testing.servers import Sqs
from crewyard_runtime.testing.service import Service, until
from report import Measured

from serving import celery_alone
from serving.client import Client
from serving.ground import CREW, FAST, TICKET, Ground, wake_ups_of

CLAIMS, CREWS = 100, 40
WARM = 5
BUILD_SECONDS = 0.3


def measure(ground: Ground) -> Iterator[Measured]:
    """To the claim of a run for each broker, and to the first line of a crew's build function."""
    for kind in ground.kinds():
        yield from _claims(ground, kind)
    yield build(ground)


def _claims(ground: Ground, kind: str) -> Iterator[Measured]:
    """One run at a time, in turns with one task of Celery's."""
    broker = ground.broker(kind)
    url = broker.url + broker.endpoint_url.partition("://")[2] if isinstance(broker, Sqs) else broker.url
    marks, publisher = ground.directory(), celery_alone.make_app(url)
    alone = ground.program(celery_alone.BANNER, *celery_alone.WORKER, BROKER_URL=url)
    with ground.service(kind) as service, alone:
        service.start_worker()
        wake_ups = wake_ups_of(service)
        pairs = [(_claimed(service, wake_ups), _task(publisher, marks)) for _ in range(WARM + CLAIMS)][WARM:]
    ours, theirs = zip(*pairs, strict=True)
    for name, of in (("p50", statistics.median), ("p95", _p95)):
        yield Measured(f"accepted to claimed, {kind}, {name}", of(ours) * 1e3, of(theirs) * 1e3, "ms", 2)


def build(ground: Ground, framework: str = "crewai") -> Measured:
    """To the build function of a framework's sample."""
    with ModelServer() as model, ground.crew_service(model.url, FAST, framework) as service:
        service.start_worker()
        service.start_api()
        client = Client(service.api_url, service.key())
        seconds = [_built(service, client) for _ in range(WARM + CREWS)][WARM:]
    return Measured("accepted to build, p95", _p95(seconds), BUILD_SECONDS, "s", 1)


def _claimed(service: Service, wake_ups: WakeUps) -> float:
    """From the commit of the transaction that took the run in to the beginning of the one that claims it."""
    run_id = service.submit({})[0]
    accepted = time.time()
    wake_ups.send()
    service.until_ended([run_id])
    return float(service.attempts(run_id)[0].started_at.timestamp()) - accepted


def _built(service: Service, client: Client) -> float:
    """From the beginning of the transaction that takes the run in to the event that the run sends just before its build
    function, when its worker stores it.
    """
    run_id = client.submit(TICKET, CREW)
    run = service.until_ended([run_id])[run_id]
    with service.database.transaction() as tx:
        at = next(event.at for event in events.after(tx, run_id, 0) if event.kind == "build.started")
    return float((at - run.created_at).total_seconds())


def _task(publisher: Celery, marks: Path) -> float:
    """From before the message is published to the first line of the task."""
    mark = marks / str(uuid.uuid4())
    published = time.time()
    publisher.send_task(celery_alone.TASK, [str(mark)])
    return float(until("the start of a task", lambda: mark.read_text() if mark.exists() else None)) - published


def _p95(samples: Sequence[float]) -> float:
    return statistics.quantiles(samples, n=20)[-1]
