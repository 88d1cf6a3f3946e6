"""The messages that say "there is work": a worker that gets one looks into the store; losing one loses nothing."""

import logging
import threading
import time
from functools import cached_property

from celery import Celery

from crewyard_runtime.jobs.brokers import celery_settings, ping
from crewyard_runtime.settings import ServiceSettings

TASK = "crewyard.wake"
PAUSE_SECONDS = 1.0  # after a failure: whoever takes requests must not wait for a broker that is down each time

log = logging.getLogger("crewyard.jobs")


class WakeUps:
    """Sends wake-up calls by Celery. Safe to use from several threads.

    longest_run_seconds: what the broker must wait for before it takes a worker for lost.
    """

    def __init__(self, settings: ServiceSettings, longest_run_seconds: float = 86_400) -> None:
        self._settings = settings
        self._longest_run_seconds = longest_run_seconds
        self._trying_again = threading.Lock()
        self._silent_until = 0.0

    @cached_property
    def celery(self) -> Celery:
        """The Celery application; it has no task yet."""
        app = Celery("crewyard", set_as_current=False)
        app.conf.update(celery_settings(self._settings, self._longest_run_seconds))
        return app

    def load(self) -> None:
        """Import what speaks to the broker, without asking it, so that the first call is as fast as the others."""
        self.celery.connection_for_write().get_transport_cls()

    def send(self) -> None:
        """Wake one worker. Raises nothing: if the broker is down, the workers look by themselves once it is back."""
        if time.monotonic() < self._silent_until:
            return
        again = self._silent_until > 0
        if again and not self._trying_again.acquire(blocking=False):
            return  # one at a time finds out whether it is back
        try:
            self.celery.send_task(TASK)
            self._silent_until = 0.0
        except Exception as error:
            self._silent_until = time.monotonic() + PAUSE_SECONDS
            log.warning("the broker took no wake-up call: %s: %s", type(error).__name__, error)
        finally:
            if again:
                self._trying_again.release()

    def ping(self, seconds: float) -> None:
        """Ask the broker. Raises what the connection raises, after at most `seconds`."""
        ping(self.celery, seconds)
