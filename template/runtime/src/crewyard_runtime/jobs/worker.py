"""A worker: waits for wake-up calls, and does one run at a time, each in its own process."""

import logging
import math
import os
import secrets
import signal
import socket
import threading
import time
import warnings
from collections.abc import Callable
from typing import Any

from celery.apps.worker import Worker as CeleryWorker
from celery.platforms import SecurityWarning
from celery.worker import state
from sqlalchemy.exc import SQLAlchemyError

from crewyard_runtime.alive import signing
from crewyard_runtime.application import Application
from crewyard_runtime.execution import Runner
from crewyard_runtime.jobs.claimed import ClaimedRuns
from crewyard_runtime.jobs.keeper import Keeper
from crewyard_runtime.jobs.memory_tokens import MemoryTokens
from crewyard_runtime.jobs.sweeper import Sweeper
from crewyard_runtime.jobs.wake_ups import TASK, WakeUps
from crewyard_runtime.jobs.webhooks import WebhookSender
from crewyard_runtime.settings import ApplicationSettings, RuntimeSettings, ServiceSettings
from crewyard_runtime.store import Database, runs

log = logging.getLogger("crewyard.jobs")


class Worker:
    """One worker process. `run` blocks until a signal ends it."""

    def __init__(
        self,
        settings: RuntimeSettings,
        service: ServiceSettings,
        database: Database,
        applications: dict[str, Application],
        application_settings: dict[str, ApplicationSettings],
        runner: Runner,
    ) -> None:
        self.name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(2)}"
        self._settings = settings
        self._service = service
        self._database = database
        self._applications = applications
        self._wake_ups = WakeUps(service, settings.limits.deadline_seconds)
        self._runner = runner
        self._sweeper = Sweeper(
            database,
            self._wake_ups,
            self._is_idle,
            list(applications),
            service.runs_per_user,
            service.sweep_seconds,
        )
        self._webhooks = WebhookSender(service, database)
        self._waits_since = math.inf  # it does not listen yet
        self._busy = threading.Lock()
        self._stopping = threading.Event()
        self._grace_over = threading.Event()
        self._claimed = ClaimedRuns(
            self._runner,
            applications,
            application_settings,
            MemoryTokens(database, settings),
            giving_up=self._grace_over,
        )
        self._keeper: Keeper | None = None

    def run(self) -> None:
        """Work until SIGTERM or SIGINT (with grace) or SIGQUIT (without). Raises RunnerNotReady, and OSError."""
        self._take_signals()
        self._runner.start()
        self._sweeper.start()
        self._webhooks.start()
        app = self._wake_ups.celery
        app.task(name=TASK, ignore_result=True)(self.wake)
        warnings.filterwarnings("ignore", category=SecurityWarning)  # of root and pickles; our messages are JSON
        log.info("worker %s is ready for %s", self.name, ", ".join(self._applications))
        with signing():
            _Celery(self._take_signals, self._listens, app=app, hostname=self.name).start()
        self._sweeper.stop()
        self._webhooks.stop()
        log.info("worker %s stopped", self.name)

    def wake(self) -> None:
        """Do the next run, if there is one; then say that there is more, if there is."""
        with self._busy:
            did_one = not self._stopping.is_set() and self._do_next()
            self._waits_since = time.monotonic()
        if not did_one:
            return
        try:
            with self._database.statements() as tx:
                more = runs.may_start(tx, self._applications, self._service.runs_per_user)
        except SQLAlchemyError as error:
            log.warning("it is not known whether there is more to do: %s", type(error).__name__)
            return
        if more:
            self._wake_ups.send()

    def _listens(self) -> None:
        self._waits_since = -math.inf  # what was queued while nobody listened may have lost its wake-up call

    def _is_idle(self) -> bool:
        # Between two runs it waits too. A call for that moment would not be lost: each one that finds work sends the
        # next, so that one more a sweep would stay in the queue for as long as runs wait.
        waits = not (self._busy.locked() or self._stopping.is_set())
        return waits and time.monotonic() - self._waits_since >= self._service.sweep_seconds

    def _do_next(self) -> bool:
        claimed_at = time.monotonic()
        lease_seconds = self._settings.lease_seconds
        try:
            with self._database.transaction() as tx:
                claim = runs.claim(tx, self.name, self._applications, lease_seconds, self._service.runs_per_user)
        except SQLAlchemyError as error:
            log.warning("no run could be claimed: %s", type(error).__name__)
            return False
        if claim is None:
            return False
        self._keeper = Keeper(self._database, claim, lease_seconds, claimed_at)
        if self._grace_over.is_set():
            self._keeper.give_back()
        self._claimed.do(claim, self._keeper)
        self._webhooks.look()
        return True

    def _take_signals(self) -> None:
        for each in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            signal.signal(each, self._on_signal)

    def _on_signal(self, signum: int, frame: Any) -> None:
        """Take nothing more; give the run that goes on some time, then hand it back."""
        again = self._stopping.is_set() and signum == signal.SIGINT
        self._stopping.set()
        state.should_stop = os.EX_OK
        grace = 0 if again or signum == signal.SIGQUIT else self._service.grace_seconds
        threading.Thread(target=self._end_after, args=(grace,), name="grace", daemon=True).start()

    def _end_after(self, grace: float) -> None:
        log.info("worker %s takes no more runs; one that goes on has %g seconds", self.name, grace)
        time.sleep(grace)
        self._grace_over.set()
        if self._keeper is not None:
            self._keeper.give_back()


class _Celery(CeleryWorker):
    """Celery's worker with our signals: its own ones would wait for a run without end, or leave it alone."""

    def __init__(self, take_signals: Callable[[], None], on_listening: Callable[[], None], **options: Any) -> None:
        self._take_signals = take_signals
        self._on_listening = on_listening
        super().__init__(
            **options,
            pool_cls="threads",
            concurrency=1,
            redirect_stdouts=False,
            quiet=True,
        )

    def install_platform_tweaks(self, worker: Any) -> None:
        self._take_signals()

    def on_consumer_ready(self, consumer: Any) -> None:
        self._on_listening()
