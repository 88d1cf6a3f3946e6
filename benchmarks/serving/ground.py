"""The servers that measurements stand on, started when the first one needs them, and services on them."""

import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from crewyard_runtime import stack
from crewyard_runtime.execution.processes import kill_run
from crewyard_runtime.faulty import application as faulty
from crewyard_runtime.jobs.wake_ups import WakeUps
from crewyard_runtime.settings import ServiceSettings
from crewyard_runtime.testing.servers import Broker, Postgres, RabbitMQ, Sqs, Valkey
from crewyard_runtime.testing.service import Service, new_database, until, variables_of
from project import importable, publish, render
from psutil import Process
from sqlalchemy import Row, make_url, text

BENCHMARKS = Path(__file__).parent.parent
CREW, TICKET = "support", {"subject": "Invoice", "body": "Where do I find my last invoice?"}
# As an installer writes it, and not `-m`: of how a program was started depends what multiprocessing does for each run.
COMMAND = "from crewyard_runtime.cli import main\nif __name__ == '__main__':\n    main()\n"
BROKERS: dict[str, type[Broker]] = {"redis": Valkey, "rabbitmq": RabbitMQ, "sqs": Sqs}
FAST = {"REQUESTS_PER_MINUTE": "1000000", "QUEUE_BOUND": "1000000"}  # no limit meets a client that floods
DEFAULTS = {"SWEEP_SECONDS": "1"}  # the default, which services for tests have not


class Ground:
    """Works below `place`, which the caller removes; `with Ground(place) as ground:` ends all that it started."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self._servers = ExitStack()
        self._brokers: dict[str, Broker] = {}
        self._projects: dict[str, Path] = {}
        self._numbers = itertools.count()

    def __enter__(self) -> "Ground":
        return self

    def __exit__(self, *error: object) -> None:
        self._servers.close()

    @cached_property
    def _postgres(self) -> Postgres:
        return self._servers.enter_context(Postgres(self.place / "postgres"))

    @cached_property
    def _empty(self) -> str:
        return str(make_url(new_database(self._postgres.url)).database)

    def database(self) -> str:
        """The URL of a new database with all tables and no rows."""
        return new_database(self._postgres.url, self._empty)

    def kinds(self) -> Iterator[str]:
        """The brokers that are installed; says of each other one how to install it."""
        for kind, server in BROKERS.items():
            if server.available():
                yield kind
            else:
                print(f"left out: {server.why_not()}", file=sys.stderr)

    def broker(self, kind: str) -> Broker:
        """The broker of a kind. Raises ServerNotStarted, with the remedy, if it is not installed."""
        if kind not in self._brokers:
            self._brokers[kind] = self._servers.enter_context(BROKERS[kind](self.place / kind))
        return self._brokers[kind]

    def directory(self) -> Path:
        """A new directory."""
        made = self.place / f"{next(self._numbers)}"
        made.mkdir()
        return made

    def service(self, kind: str = "redis", variables: dict[str, str] | None = None, **options: Any) -> Service:
        """A service with no process yet, by default of the faulty application. options: see Service."""
        broker = variables_of(self.broker(kind))
        return Service(self.directory(), self.database(), broker, DEFAULTS | (variables or {}), **options)

    @cached_property
    def _template(self) -> Path:
        return publish(self.place / "template")

    def _project(self, framework: str) -> Path:
        if framework not in self._projects:
            self._projects[framework] = importable(render(self._template, self.place / framework, framework))
        return self._projects[framework]

    def crew_service(
        self, model_url: str, variables: dict[str, str] | None = None, framework: str = "crewai"
    ) -> Service:
        """A service of a framework's sample, whose model is at `model_url`."""
        model = {name.upper(): value for name, value in stack.model_server_settings(model_url).items()}
        project = self._project(framework)
        crew = {"FRAMEWORK": framework, "PYTHONPATH": str(project)}
        command = project / "command"
        command.write_text(COMMAND)
        return self.service(variables=crew | model | (variables or {}), program=(str(command),))

    @contextmanager
    def program(self, ready: str, *arguments: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
        """A Python program beside a service, from when its output holds `ready` until the block ends.

        It finds these benchmarks, and of the variables of this process only PATH and HOME.
        """
        log = self.directory() / "log"
        inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, *arguments],
                env={**inherited, "PYTHONPATH": str(BENCHMARKS), "PYTHONUNBUFFERED": "1", **environment},
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

        def is_ready() -> bool:
            said = log.read_text("utf-8", errors="replace")
            if process.poll() is not None:
                sys.exit(f"{' '.join(arguments)} ended with {process.returncode}\n{said[-4000:]}")
            return ready in said

        try:
            until(f"{ready!r} of {arguments}", is_ready, 60)
            yield process
        finally:
            kill_run(Process(process.pid))
            process.wait()


def wake_ups_of(service: Service) -> WakeUps:
    """What wakes the workers of a service, as its gateway does."""
    named = {name.lower(): value for name, value in service.broker.items()}
    return WakeUps(ServiceSettings.load(**named, broker_queue=service.queue))


def finish(service: Service, *inputs: dict[str, Any], application: str = faulty.name) -> None:
    """Queue runs, wake a worker for each, and wait until all have ended. Raises RuntimeError if one did not succeed."""
    ids = service.submit(*inputs, application=application)
    wake_ups = wake_ups_of(service)
    for _ in ids:
        wake_ups.send()
    # One question for all of them: a waiting that keeps the database busy would be measured too.
    until(f"the end of {len(ids)} runs", lambda: not _first(service, "finished_at IS NULL"), 10 * len(ids))
    if bad := _first(service, "status <> 'succeeded'"):
        msg = f"A run did not succeed, so what all of them took says nothing: {bad.status}, {bad.error}"
        raise RuntimeError(msg)


def _first(service: Service, which: str) -> Row[Any] | None:
    with service.database.transaction() as tx:
        return tx.execute(text(f"SELECT status, error FROM runs WHERE {which} LIMIT 1")).one_or_none()
