"""How Celery carries the wake-up calls over Redis, RabbitMQ or SQS, for workers and for whoever wakes them.

A message says only "there is work", and workers look for lost ones themselves. So a message may get lost or come twice;
what counts is that publishing fails soon while the broker is down, and that a worker goes on by itself afterwards.
"""

from typing import Any, Literal
from urllib.parse import urlsplit

from celery import Celery
from kombu.entity import Queue
from kombu.transport import TRANSPORT_ALIASES

from crewyard_runtime.settings import ServiceSettings

Broker = Literal["redis", "rabbitmq", "sqs"]

BROKERS: dict[str, Broker] = {
    "redis": "redis",
    "rediss": "redis",
    "amqp": "rabbitmq",
    "amqps": "rabbitmq",
    "sqs": "sqs",
}
# Celery's names for our own transports
REDIS, SQS = "redis-streams", "sqs-polled"
MAX_WAITING = 1_000  # messages; more workers than that are never idle at once
ANSWER_SECONDS = 0.6  # a publisher waits at most three times: once on an old connection, twice for a new one
HEARTBEAT_SECONDS = 5
LONG_POLL_SECONDS = 2
SQS_PAUSE_SECONDS = 0.1
SQS_KEPT_SECONDS = 600
SQS_LONGEST_VISIBILITY_SECONDS = 43_200


def broker_of(url: str) -> Broker:
    """The broker that a URL means. Raises ValueError for a URL of another scheme."""
    scheme = url.partition("://")[0]
    if scheme not in BROKERS:
        msg = f"BROKER_URL begins with {scheme[:20]!r}: give a URL that begins with one of {', '.join(BROKERS)}"
        raise ValueError(msg)
    return BROKERS[scheme]


def celery_settings(service: ServiceSettings, longest_run_seconds: float) -> dict[str, Any]:
    """All of Celery's settings. Raises ValueError if the broker's URL is not set or of an unknown scheme.

    longest_run_seconds: how long a worker may keep a message before the broker gives it to another one, which costs a
    look into the store for nothing. Only SQS is told, when its queue is made, and takes no more than 12 hours. RabbitMQ
    knows it for all queues: set `consumer_timeout` (milliseconds, by default 30 minutes) in its configuration above the
    deadline of a run. Redis has forgotten a message as soon as it is read.

    On SQS the queue is made if there is none. For one that is there ListQueues, GetQueueAttributes, SendMessage,
    ReceiveMessage, DeleteMessage and ChangeMessageVisibility are enough.
    """
    if service.broker_url is None:
        msg = "BROKER_URL is not set: give the URL of your broker, for example redis://localhost:6379/0"
        raise ValueError(msg)
    url = service.broker_url.get_secret_value()
    broker = broker_of(url)
    return {
        "accept_content": ["json"],
        "broker_channel_error_retry": True,
        "broker_connection_timeout": ANSWER_SECONDS,
        "broker_heartbeat": HEARTBEAT_SECONDS,
        "broker_pool_acquire_timeout": ANSWER_SECONDS,
        **_urls(url),
        "task_acks_late": True,
        "task_create_missing_queues": False,
        "task_default_queue": service.broker_queue,
        "task_ignore_result": True,
        "task_publish_retry_policy": {"max_retries": 1, "interval_start": 0, "interval_step": 0, "interval_max": 0},
        "task_queues": [Queue(service.broker_queue, queue_arguments=QUEUE_ARGUMENTS[broker])],  # type: ignore[no-untyped-call]
        "task_serializer": "json",
        # The run goes on: what counts is its lease in the store.
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "worker_consumer": "crewyard_runtime.jobs.brokers.consumer:QuietConsumer",
        "worker_enable_remote_control": False,
        "worker_hijack_root_logger": False,
        "worker_prefetch_multiplier": 1,
        "worker_redirect_stdouts": False,
        **SETTINGS[broker](service, url, longest_run_seconds),
    }


def ping(app: Celery, seconds: float) -> None:
    """Ask the broker over a connection of its own, for no queue. Raises what the connection raises within `seconds`."""
    patience = seconds / 2  # for a connection, then for an answer
    options = _timeouts(patience)[broker_of(app.conf.broker_write_url)]
    with app.connection_for_write(connect_timeout=patience, transport_options=options) as connection:
        connection.ensure_connection(max_retries=0)


def _urls(url: str) -> dict[str, str]:
    # Not `broker_url`: the variable CELERY_BROKER_URL would win over it.
    return {"broker_read_url": url, "broker_write_url": url}


def _timeouts(seconds: float) -> dict[Broker, dict[str, Any]]:
    """How kombu's transports are told to wait no longer than `seconds` for a connection or an answer."""
    return {
        "redis": {"socket_connect_timeout": seconds, "socket_timeout": seconds},
        "rabbitmq": {"read_timeout": seconds, "write_timeout": seconds},
        "sqs": {
            "client-config": {"connect_timeout": seconds, "read_timeout": seconds, "retries": {"total_max_attempts": 1}}
        },
    }


def _redis(service: ServiceSettings, url: str, longest_run_seconds: float) -> dict[str, Any]:
    TRANSPORT_ALIASES[REDIS] = "crewyard_runtime.jobs.brokers.redis_streams:Transport"
    return {
        "broker_transport": REDIS,
        "broker_transport_options": {
            **_timeouts(ANSWER_SECONDS)["redis"],
            "health_check_interval": HEARTBEAT_SECONDS,
        },
        # Kombu would take any certificate.
        "broker_use_ssl": {"ssl_cert_reqs": "required"} if url.startswith("rediss:") else False,
    }


def _rabbitmq(service: ServiceSettings, url: str, longest_run_seconds: float) -> dict[str, Any]:
    return {
        "broker_transport_options": {**_timeouts(ANSWER_SECONDS)["rabbitmq"], "confirm_publish": True},
        # Without the name of the host py-amqp would take any host's certificate; None means the one in the URL.
        "broker_use_ssl": {"server_hostname": None} if url.startswith("amqps:") else False,
    }


def _sqs(service: ServiceSettings, url: str, longest_run_seconds: float) -> dict[str, Any]:
    endpoint = urlsplit(service.sqs_endpoint_url or "https:")
    if endpoint.netloc:
        account = urlsplit(url).netloc.rpartition("@")[0]
        url = f"sqs://{account}@{endpoint.netloc}"
    TRANSPORT_ALIASES[SQS] = "crewyard_runtime.jobs.brokers.sqs:Transport"
    return {
        "broker_transport": SQS,
        **_urls(url),
        "broker_transport_options": {
            **_timeouts(ANSWER_SECONDS)["sqs"],
            "is_secure": endpoint.scheme == "https",
            # Between two looks at whether the worker is busy, and after each long poll.
            "polling_interval": SQS_PAUSE_SECONDS,
            "region": service.aws_region,
            "sqs-creation-attributes": {"MessageRetentionPeriod": str(SQS_KEPT_SECONDS)},
            "visibility_timeout": min(longest_run_seconds + 60, SQS_LONGEST_VISIBILITY_SECONDS),
            "wait_time_seconds": LONG_POLL_SECONDS,
        },
    }


SETTINGS = {"redis": _redis, "rabbitmq": _rabbitmq, "sqs": _sqs}
QUEUE_ARGUMENTS: dict[Broker, dict[str, Any] | None] = {
    "redis": None,
    # Not to be changed: RabbitMQ refuses whoever declares its queue in another way.
    "rabbitmq": {"x-queue-type": "quorum", "x-max-length": MAX_WAITING, "x-overflow": "drop-head"},
    "sqs": None,
}
