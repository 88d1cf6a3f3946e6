"""The wake-up calls on each broker: publishers and workers go on after whatever happened to the broker."""

import contextlib
import datetime
import os
import queue
import socket
import ssl
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import psutil
import pytest
from celery import Celery
from crewyard_runtime.jobs.brokers import MAX_WAITING, broker_of, celery_settings, ping
from crewyard_runtime.settings import ServiceSettings
from crewyard_runtime.testing.servers import Broker, RabbitMQ, Sqs, Valkey
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from kombu.exceptions import OperationalError
from pydantic import SecretStr
from redis import Redis

TASK = "say"
GONE = "gone"
PATIENCE = 20.0  # seconds until an event is held to be lost
SOON = 5.0  # seconds within which publishing fails: 2, and the rest for a busy machine
# A file of its own would do; but each worker would import what the tests do.
WORKER = """
import sys
from celery import Celery
from celery.signals import worker_ready
from crewyard_runtime.jobs.brokers import celery_settings
from crewyard_runtime.settings import ServiceSettings

app = Celery()
app.conf.update(celery_settings(ServiceSettings(), 60))

@app.task(name="say")
def say(word):
    print("started", word, flush=True)
    if word == "long":
        sys.stdin.readline()

@worker_ready.connect
def say_ready(**_):
    print("ready", flush=True)

app.worker_main(["--quiet", "worker", "-P", "threads", "-c", "1", "-l", "WARNING"])
"""


def self_signed(file: Path) -> Path:
    """A key and its certificate for 127.0.0.1, in a file of PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    pem = serialization.Encoding.PEM
    file.write_bytes(key.private_bytes(pem, *form) + certificate.public_bytes(pem))
    return file


class Worker:
    """A worker process. It says `ready`, and `started <word>` for each message; `long` goes on until `end()`."""

    def __init__(self, environment: dict[str, str], directory: Path) -> None:
        pipe: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen([sys.executable, "-c", WORKER], env=environment, cwd=directory, **pipe)
        self._said: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def says(self, saying: str, seconds: float = PATIENCE) -> bool:
        """Whether it says this before so many seconds are over, or it ends; what it says before is forgotten."""
        deadline = time.monotonic() + seconds
        said = ""
        with contextlib.suppress(queue.Empty):
            while said not in (saying, GONE):
                said = self._said.get(timeout=max(0, deadline - time.monotonic()))
        return said == saying

    def end(self) -> None:
        """End `long`, and each `long` that comes again."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n" * 9)
        self.process.stdin.flush()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._said.put(line.strip())
        self._said.put(GONE)


class Service:
    """A queue of its own on a broker: who publishes to it, and its workers."""

    def __init__(self, server: Broker, directory: Path, **settings: Any) -> None:
        self.server = server
        self.queue = f"test-{uuid.uuid4().hex[:8]}"
        endpoint = server.endpoint_url if isinstance(server, Sqs) else None
        settings = {"broker_url": server.url, "broker_queue": self.queue, "sqs_endpoint_url": endpoint, **settings}
        self.app = Celery(set_as_current=False)
        self.app.conf.update(celery_settings(ServiceSettings(**settings), 60))
        self._environment = {name.upper(): value for name, value in settings.items() if value}
        self._directory = directory
        self.workers: list[Worker] = []

    def worker(self) -> Worker:
        """Another worker, once it is ready."""
        worker = Worker({**os.environ, **self._environment}, self._directory)
        self.workers.append(worker)
        assert worker.says("ready")
        return worker

    def publish(self, word: str) -> None:
        """Send a message."""
        self.app.send_task(TASK, [word])

    def wakes(self, worker: Worker, word: str) -> bool:
        """Whether a worker starts a word that is published every second, as the workers' sweepers do."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            with contextlib.suppress(OperationalError):
                self.publish(word)
            if worker.says(f"started {word}", 1):
                return True
        return False

    def waiting(self) -> int:
        """How many messages are in the queue. Raises what the broker raises if there is no queue."""
        with self.app.connection_for_read() as connection, connection.channel() as channel:
            return int(self.app.amqp.queues[self.queue](channel).queue_declare(passive=True).message_count)

    def lose_queue(self) -> None:
        """Take away the queue with what is in it."""
        if isinstance(self.server, RabbitMQ):
            with self.app.connection_for_write() as connection, connection.channel() as channel:
                channel.queue_delete(self.queue)
        else:
            self.server.flush()

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """The broker does nothing meanwhile, and its connections stay open."""
        listening = [each for each in psutil.net_connections("tcp") if each.status == psutil.CONN_LISTEN]
        processes = [
            psutil.Process(each.pid) for each in listening if each.laddr and each.laddr.port == self.server.port
        ]
        for each in processes:
            each.suspend()
        try:
            yield
        finally:
            for each in processes:
                each.resume()

    def close(self) -> None:
        """Kill the workers."""
        for worker in self.workers:
            worker.process.kill()
            worker.process.wait()
        self.app.close()


def fails(seconds: float, do: Callable[..., None], *arguments: Any) -> bool:
    """Whether it raises what a broker that is down raises. Raises queue.Empty if it takes longer than that."""
    outcome: queue.Queue[Exception | None] = queue.Queue()

    def attempt() -> None:
        try:
            do(*arguments)
        except Exception as error:
            outcome.put(error)
        else:
            outcome.put(None)

    threading.Thread(target=attempt, daemon=True).start()
    return isinstance(outcome.get(timeout=seconds), OperationalError)


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(broker, marks=pytest.mark.skipif(not broker.available(), reason=broker.why_not()))
        for broker in (Valkey, RabbitMQ, Sqs)
    ],
)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """Each broker in turn."""
    with request.param(tmp_path_factory.mktemp("broker")) as server:
        yield server


@pytest.fixture
def service(server: Broker, tmp_path: Path) -> Iterator[Service]:
    """A queue of the test's own."""
    server.flush()
    service = Service(server, tmp_path)
    ping(service.app, PATIENCE)  # moto loads its SQS at the first request
    yield service
    service.close()


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """A Valkey of its own, for what is about streams."""
    if not Valkey.available():
        pytest.skip(Valkey.why_not())
    with Valkey(tmp_path_factory.mktemp("valkey")) as server:
        yield server


def test_a_worker_makes_no_queue_but_its_own(service: Service) -> None:
    worker = service.worker()
    service.publish("word")
    assert worker.says("started word")
    with service.app.connection_for_read() as connection:
        if isinstance(service.server, Valkey):
            assert connection.default_channel.client.keys() == [service.queue.encode()]
        elif isinstance(service.server, Sqs):
            assert list(connection.default_channel._queue_cache) == [service.queue]
        else:
            with pytest.raises(connection.channel_errors, match="NOT_FOUND"):
                connection.default_channel.queue_declare("celery_delayed_0", passive=True)


def test_a_worker_goes_on_when_its_broker_was_down(service: Service) -> None:
    worker = service.worker()
    service.publish("before")
    assert worker.says("started before")
    service.server.stop()
    for _ in range(2):
        assert fails(SOON, service.publish, "meanwhile")
    service.server.start()
    assert service.wakes(worker, "after")


def test_a_worker_goes_on_when_its_broker_was_down_during_a_task(service: Service) -> None:
    worker = service.worker()
    service.publish("long")
    assert worker.says("started long")
    service.server.restart()
    worker.end()
    assert service.wakes(worker, "after")


def test_a_worker_goes_on_when_its_queue_was_lost(service: Service) -> None:
    worker = service.worker()
    service.publish("before")
    assert worker.says("started before")
    service.lose_queue()
    assert service.wakes(worker, "after")


def test_a_worker_goes_on_when_its_broker_was_frozen(service: Service) -> None:
    worker = service.worker()
    service.publish("before")
    assert worker.says("started before")
    with service.frozen():
        assert fails(SOON, service.publish, "meanwhile")
        assert fails(1.5, ping, service.app, 1)
    assert service.wakes(worker, "after")


def test_a_worker_that_is_busy_or_was_killed_keeps_nothing_from_another(service: Service) -> None:
    busy = service.worker()
    service.publish("long")
    assert busy.says("started long")
    other = service.worker()
    for word in ("one", "two", "three"):
        service.publish(word)
        assert other.says(f"started {word}")
    busy.process.kill()
    other.end()
    service.publish("four")
    assert other.says("started four")


def test_a_worker_that_is_frozen_keeps_one_message_at_most_from_another(service: Service) -> None:
    frozen, other = service.worker(), service.worker()
    psutil.Process(frozen.process.pid).suspend()
    for _ in range(3):
        service.publish("word")
    assert other.says("started word")
    assert other.says("started word")


def test_the_queue_stays_bounded_while_nobody_reads_it(service: Service) -> None:
    if isinstance(service.server, Sqs):
        pytest.skip("SQS knows no such bound; it drops messages after ten minutes")
    for _ in range(2 * MAX_WAITING):
        service.publish("word")
    assert MAX_WAITING <= service.waiting() <= 1.1 * MAX_WAITING
    service.app.control.purge()
    assert service.waiting() == 0


def test_a_ping_leaves_no_connection_and_no_queue(service: Service) -> None:
    open_before = psutil.Process().num_fds()
    for _ in range(5):
        ping(service.app, PATIENCE)
    assert psutil.Process().num_fds() <= open_before
    with service.app.connection_for_read() as connection:
        if isinstance(service.server, Sqs):
            assert service.queue not in connection.default_channel._queue_cache
        else:
            with pytest.raises(connection.channel_errors, match="NOT_FOUND"):
                service.waiting()


def test_workers_that_come_and_go_leave_nothing_in_a_stream(valkey: Valkey, tmp_path: Path) -> None:
    with contextlib.closing(Service(valkey, tmp_path)) as service, Redis.from_url(valkey.url) as client:
        for end in ("kill", "kill", "terminate"):
            worker = service.worker()
            service.publish("word")
            assert worker.says("started word")
            getattr(worker.process, end)()
            worker.process.wait()
        [group] = client.xinfo_groups(service.queue)
        assert (group["consumers"], group["pending"], group["lag"], service.waiting()) == (1, 0, 0, 0)


def test_a_worker_goes_on_when_a_key_of_another_type_was_in_the_way(valkey: Valkey, tmp_path: Path) -> None:
    with contextlib.closing(Service(valkey, tmp_path)) as service, Redis.from_url(valkey.url) as client:
        worker = service.worker()
        client.set(service.queue, "mine")
        with pytest.raises(OperationalError, match=f"the key '{service.queue}' of the broker is not a stream"):
            service.publish("word")
        client.delete(service.queue)
        assert service.wakes(worker, "after")


def test_a_password_and_the_number_of_a_database_are_used(valkey: Valkey, tmp_path: Path) -> None:
    with Redis.from_url(valkey.url) as client:
        client.acl_setuser("crew", enabled=True, passwords=["+p/w:d"], keys=["*"], commands=["+@all"])
    url = f"redis://crew:p%2Fw%3Ad@127.0.0.1:{valkey.port}/3"
    with contextlib.closing(Service(valkey, tmp_path, broker_url=url)) as service, Redis.from_url(url) as client:
        service.publish("word")
        assert client.xlen(service.queue) == 1
        assert service.worker().says("started word")


@pytest.mark.parametrize("scheme", ["rediss", "amqps"])
def test_a_certificate_that_nobody_vouches_for_is_refused(scheme: str, tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(self_signed(tmp_path / "certificate.pem"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = SecretStr(f"{scheme}://127.0.0.1:{listener.getsockname()[1]}")
        app = Celery(set_as_current=False)
        app.conf.update(celery_settings(ServiceSettings(broker_url=url), 60))

        def accept() -> None:
            with contextlib.suppress(OSError):
                context.wrap_socket(listener.accept()[0], server_side=True)

        threading.Thread(target=accept, daemon=True).start()
        with pytest.raises(OperationalError, match="CERTIFICATE_VERIFY_FAILED"):
            ping(app, PATIENCE)


@pytest.mark.parametrize(
    ("url", "broker"),
    [
        ("redis://localhost:6379/0", "redis"),
        ("rediss://localhost", "redis"),
        ("amqp://", "rabbitmq"),
        ("amqps://host", "rabbitmq"),
        ("sqs://", "sqs"),
    ],
)
def test_the_scheme_of_a_url_names_the_broker(url: str, broker: str) -> None:
    assert broker_of(url) == broker


def test_a_url_of_another_scheme_is_refused() -> None:
    with pytest.raises(ValueError, match="BROKER_URL begins with 'kafka': give a URL that begins with one of redis,"):
        broker_of("kafka://user:secret@host")


def test_a_url_that_is_not_set_is_refused() -> None:
    with pytest.raises(ValueError, match="BROKER_URL is not set: give the URL of your broker"):
        celery_settings(ServiceSettings(broker_url=None), 60)
