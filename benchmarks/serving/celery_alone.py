"""Celery as it comes, for comparison: an application whose one task notes when it began."""

import os
import time
from pathlib import Path
from typing import Any

from celery import Celery

WORKER = (
    *("-m", "celery", "--app", "serving.celery_alone:app", "worker", "--pool", "threads", "--concurrency", "1"),
    *("--without-gossip", "--without-mingle", "--without-heartbeat"),
)
BANNER = "celery@"
TASK = "start"


# What the service asks of each broker too: RabbitMQ is to keep and confirm a message, SQS is looked at as often.
ASKED: dict[str, dict[str, Any]] = {
    "redis": {},
    "amqp": {"broker_transport_options": {"confirm_publish": True}, "task_default_queue_type": "quorum"},
    "sqs": {"broker_transport_options": {"is_secure": False, "polling_interval": 0.1, "wait_time_seconds": 2}},
}


def make_app(broker_url: str) -> Celery:
    """An application that acknowledges and prefetches as the service does; what is not named is Celery's choice."""
    app = Celery("alone", broker=broker_url, set_as_current=False)
    app.conf.update(
        task_acks_late=True,
        task_default_queue="alone",
        task_ignore_result=True,
        worker_enable_remote_control=False,
        worker_prefetch_multiplier=1,
        **ASKED[broker_url.partition("://")[0]],
    )
    return app


app = make_app(os.environ.get("BROKER_URL", "redis://"))


@app.task(name=TASK)  # type: ignore[untyped-decorator] # Celery brings no types
def start(mark: str) -> None:
    """Write the time into the file `mark`."""
    began = time.time()
    Path(mark).write_text(str(began))
