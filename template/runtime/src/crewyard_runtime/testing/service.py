"""A service for fault tests: its gateway and workers as real processes, on real servers."""

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar
from uuid import UUID

import psutil
import sqlalchemy
from amqp import ChannelError
from sqlalchemy import Row, make_url, text

from crewyard_runtime.embedded import free_port
from crewyard_runtime.execution.messages import Failure
from crewyard_runtime.execution.processes import kill_run
from crewyard_runtime.jobs.wake_ups import WakeUps
from crewyard_runtime.memory.access import migration
from crewyard_runtime.settings import RuntimeSettings, ServiceSettings
from crewyard_runtime.store import Database, intake, keys, runs
from crewyard_runtime.testing.servers import Broker, RabbitMQ, Sqs, Valkey

LEASE_SECONDS = 2.0
INHERITED = ("PATH", "HOME", "LANG", "PYTHONPATH", "VIRTUAL_ENV", "TMPDIR", "UV_PYTHON")
FAULTY = ("-m", "crewyard_runtime.faulty")
OWN = ("-m", "crewyard_runtime")

Found = TypeVar("Found")


def until(what: str, find: Callable[[], Found | None], seconds: float = 30) -> Found:
    """What `find` gives as soon as it gives something true. Raises AssertionError, with `what`, after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (found := find()):
        if time.monotonic() > deadline:
            msg = f"{what} did not happen within {seconds:g} seconds"
            raise AssertionError(msg)
        time.sleep(0.02)
    return found


def new_database(server_url: str, template: str | None = None) -> str:
    """The URL of a new database on a server, with the tables of this release and the project's memory.

    A copy of `template`, if one is named.
    """
    name = f"crewyard_{secrets.token_hex(6)}"
    engine = sqlalchemy.create_engine(
        make_url(server_url).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT"
    )
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}" + (f" TEMPLATE {template}" if template else "")))
    engine.dispose()
    url = make_url(server_url).set(database=name).render_as_string(hide_password=False)
    if template is None:
        database = Database(url)
        database.migrate(migration(RuntimeSettings.load().on_embedded(url)))
        database.close()
    return url


@dataclass
class Service:
    """Processes that end with it. `with Service(...) as service:`

    directory: for logs and workspaces. database_url: a database of its own. broker: the variables that name one.
    program: FAULTY for the faulty application, OWN for the project's own. variables: any other setting.
    """

    directory: Path
    database_url: str
    broker: dict[str, str]
    variables: dict[str, str] = field(default_factory=dict)
    program: tuple[str, ...] = FAULTY
    run_as: tuple[str, ...] = ()  # a command that is put before the service's own

    def __post_init__(self) -> None:
        self.database = Database(self.database_url)
        self.queue = f"test-{secrets.token_hex(4)}"
        self.processes: list[subprocess.Popen[bytes]] = []
        self.workers: list[subprocess.Popen[bytes]] = []
        self.api_url = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for process in self.processes:
            self.kill(process)
        self.database.close()

    @property
    def environment(self) -> dict[str, str]:
        """What the processes are started with."""
        inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
        plain = {"FRAMEWORK": "plain", "MEMORY": "none"} if self.program == FAULTY else {}
        return {
            **inherited,
            **memory_variables(self.database_url, self.directory / "memory"),
            **plain,
            **self.broker,
            "DATABASE_URL": self.database_url,
            "BROKER_QUEUE": self.queue,
            "LEASE_SECONDS": str(LEASE_SECONDS),
            "SWEEP_SECONDS": "0.5",
            "GRACE_SECONDS": "1",
            "AUTH": "api-keys",
            "SECRETS": "environment",
            "WRITABLE_DIR": str(self.directory / "writable"),
            **self.variables,
        }

    def start_worker(self, ready: bool = True) -> subprocess.Popen[bytes]:
        """A worker; `ready` waits until it can be reached by a wake-up call."""
        process = self._start("worker")
        self.workers.append(process)
        if ready:
            self._until_ready(process)
        return process

    def start_workers(self, number: int) -> list[subprocess.Popen[bytes]]:
        """Several workers, started at the same time."""
        workers = [self.start_worker(ready=False) for _ in range(number)]
        for worker in workers:
            self._until_ready(worker)
        return workers

    def start_api(self, workers: int = 1) -> subprocess.Popen[bytes]:
        """The gateway, ready for requests at `api_url`."""
        port = free_port()
        process = self._start("api", "--port", str(port), "--workers", str(workers))
        self.api_url = f"http://127.0.0.1:{port}"
        until("the start of the gateway", lambda: _listens(port) or self._is_dead(process))
        return process

    def use_project_memory(self) -> None:
        """Give the faulty application the project's memory, but not one on a volume: that is the framework's own."""
        memory = memory_variables(self.database_url, self.directory / "memory")
        if memory["MEMORY"] != "volume":
            self.variables |= memory

    def stand(self, workers: int) -> None:
        """Start what is missing of so many workers and a gateway, all at once."""
        self.workers = [process for process in self.workers if process.poll() is None]
        missing = [self.start_worker(ready=False) for _ in range(workers - len(self.workers))]
        if not self.api_url:
            self.start_api()
        for worker in missing:
            self._until_ready(worker)

    def _until_ready(self, worker: subprocess.Popen[bytes]) -> None:
        until("the start of a worker", lambda: self._said(worker, " is ready for ") or self._is_dead(worker))

    def key(self, owner: str = "tester", **rights: bool) -> str:
        """An API key."""
        with self.database.transaction() as tx:
            return keys.create(tx, owner, **rights)

    def submit(
        self,
        *inputs: dict[str, Any],
        application: str = "faulty",
        user_id: str | None = None,
        max_attempts: int = 3,
    ) -> list[UUID]:
        """Queue a run for each input, as the gateway does, but without a wake-up call."""
        ids = [uuid.uuid4() for _ in inputs]
        with self.database.transaction() as tx:
            for run_id, data in zip(ids, inputs, strict=True):
                intake.submit(tx, intake.NewRun(run_id, application, user_id, data, max_attempts))
        return ids

    def run(self, run_id: UUID) -> Row[Any]:
        """A run as the store knows it."""
        with self.database.transaction() as tx:
            found = runs.find(tx, run_id)
        assert found is not None, f"run {run_id} is gone"
        return found

    def until_status(self, run_id: UUID, status: str, seconds: float = 30) -> Row[Any]:
        """The run, once it has this status."""
        return until(
            f"run {run_id} being {status} (it is {self.run(run_id).status})",
            lambda: run if (run := self.run(run_id)).status == status else None,
            seconds,
        )

    def until_ended(self, ids: Iterable[UUID], seconds: float = 60) -> dict[UUID, Row[Any]]:
        """All of the runs, once each has ended."""
        wanted = list(ids)

        def ended() -> dict[UUID, Row[Any]] | None:
            with self.database.transaction() as tx:
                found = {run_id: runs.find(tx, run_id) for run_id in wanted}
            done = {run_id: run for run_id, run in found.items() if run is not None and run.status in runs.ENDED}
            return done if len(done) == len(wanted) else None

        return until(f"the end of {len(wanted)} runs", ended, seconds)

    def attempts(self, run_id: UUID) -> list[Row[Any]]:
        """The attempts of a run."""
        with self.database.transaction() as tx:
            return runs.attempts_of(tx, run_id)

    def worker_of(self, run_id: UUID) -> subprocess.Popen[bytes]:
        """The process of the worker that holds a run."""
        pid = int(self.run(run_id).worker.rsplit("-", 2)[1])
        return next(process for process in self.processes if process.pid == pid)

    def queue_length(self) -> int:
        """How many wake-up calls wait at the broker."""
        settings = ServiceSettings.load(**{name.lower(): value for name, value in self.broker.items()})
        app = WakeUps(settings.model_copy(update={"broker_queue": self.queue})).celery
        with app.connection_for_read() as connection:
            try:
                return int(connection.default_channel.queue_declare(self.queue, passive=True).message_count)
            except ChannelError:
                return 0  # nobody has sent one yet

    def kill_only(self, process: subprocess.Popen[bytes]) -> None:
        """SIGKILL for this one process, as the kernel does when memory is short; what it started is left alone."""
        process.kill()
        process.wait()

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """End a process with SIGKILL, and all that it started in its session. Runs have sessions of their own."""
        if process.poll() is None:
            kill_run(psutil.Process(process.pid))
        process.wait()

    def log(self, process: subprocess.Popen[bytes]) -> str:
        """What a process has said so far."""
        return self._log_of(process).read_text("utf-8", errors="replace")

    def logs(self) -> str:
        """What all of its processes have said so far."""
        return "\n".join(map(self.log, self.processes))

    def _start(self, *arguments: str) -> subprocess.Popen[bytes]:
        self.directory.mkdir(parents=True, exist_ok=True)
        number = len(self.processes)
        with (self.directory / f"{number}.log").open("wb") as log:
            process = subprocess.Popen(
                [*self.run_as, sys.executable, *self.program, *arguments],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def _log_of(self, process: subprocess.Popen[bytes]) -> Path:
        return self.directory / f"{self.processes.index(process)}.log"

    def _said(self, process: subprocess.Popen[bytes], what: str) -> bool:
        return what in self.log(process)

    def _is_dead(self, process: subprocess.Popen[bytes]) -> bool:
        if process.poll() is not None:
            msg = f"the process ended with {process.returncode}: {self.log(process)[-3_000:]}"
            raise AssertionError(msg)
        return False


def ends(rows: Iterable[Row[Any]]) -> list[tuple[str, Failure | None]]:
    """How the runs of the store ended: of each its status and its error."""
    return [(row.status, Failure.model_validate(row.error) if row.error else None) for row in rows]


def memory_variables(database_url: str, directory: Path) -> dict[str, str]:
    """The variables of the memory that the project has chosen, or of what stands in for its server, in tests.

    database_url: of a database of tests. directory: where a memory on a volume goes.
    """
    settings = RuntimeSettings.load(memory_database_url=None, qdrant_url=None, mem0_api_key=None, memory_dir=directory)
    settings = settings.on_embedded(database_url)
    if settings.memory == "volume":
        directory.mkdir(exist_ok=True, parents=True)
    url = settings.memory_database_url
    named = {"MEMORY_DATABASE_URL": url.get_secret_value()} if url else {}
    return {"MEMORY": settings.memory, "MEMORY_DIR": str(directory), **named}


def variables_of(broker: Broker) -> dict[str, str]:
    """The variables that send a service to a broker."""
    kind = {Valkey: "redis", RabbitMQ: "rabbitmq", Sqs: "sqs"}[type(broker)]
    endpoint = {"SQS_ENDPOINT_URL": broker.endpoint_url} if isinstance(broker, Sqs) else {}
    return {"BROKER": kind, "BROKER_URL": broker.url, **endpoint}


def freeze(process: subprocess.Popen[bytes]) -> None:
    """Stop a process as a paused machine or an endless swap would."""
    os.kill(process.pid, signal.SIGSTOP)


def lives(process: int) -> bool:
    """Whether there is a process of this number that has not ended."""
    return psutil.pid_exists(process)


def thaw(process: subprocess.Popen[bytes]) -> None:
    """Let a frozen process go on."""
    os.kill(process.pid, signal.SIGCONT)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
