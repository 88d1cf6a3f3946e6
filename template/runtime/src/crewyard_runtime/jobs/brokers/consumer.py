"""The part of Celery's worker that listens to the broker, for workers that only wait for wake-up calls."""

import logging
import time
import warnings
from typing import Any

from celery.exceptions import CPendingDeprecationWarning
from celery.worker.consumer import Consumer
from celery.worker.state import maybe_shutdown

RETRY_SECONDS, LONGEST_RETRY_SECONDS = 0.5, 2.0

log = logging.getLogger("crewyard.jobs")

# At each lost connection Celery would advise to end the runs that go on; they are safe without it.
warnings.filterwarnings("ignore", r"\nIn Celery 5\.1 we introduced", CPendingDeprecationWarning)


class QuietConsumer(Consumer):
    """Celery's consumer with nothing but its tasks: workers do not talk to each other, and make no queue but their own.

    It asks for a broker that is down every two seconds for ever, where Celery's would wait for up to 30 seconds, and
    one that refuses it, for example for its queue's arguments, every half a second, where Celery's would not wait.
    """

    class Blueprint(Consumer.Blueprint):
        """What it is made of."""

        # For a quorum queue Celery would make 28 queues and 28 exchanges that delay messages; ours are never delayed.
        default_steps = tuple(step for step in Consumer.Blueprint.default_steps if "DelayedDelivery" not in step)

    def __init__(self, *args: Any, **options: Any) -> None:
        silence = dict.fromkeys(("without_gossip", "without_mingle", "without_heartbeat"), True)
        super().__init__(*args, **options | silence)

    def ensure_connected(self, connection: Any) -> Any:
        """The connection, once it is there."""

        def log_error(error: Exception, pause: float) -> None:
            log.warning("the broker %s cannot be reached, next try in %.1f s: %s", connection.as_uri(), pause, error)

        return connection.ensure_connection(
            log_error,
            interval_start=RETRY_SECONDS,
            interval_step=RETRY_SECONDS,
            interval_max=LONGEST_RETRY_SECONDS,
            callback=maybe_shutdown,
        )

    def on_connection_error_after_connected(self, error: Exception) -> None:
        """Say what Celery does not, whose message has no more than the type of Redis's errors."""
        log.warning("the broker was lost: %s", error)
        super().on_connection_error_after_connected(error)
        time.sleep(RETRY_SECONDS)
