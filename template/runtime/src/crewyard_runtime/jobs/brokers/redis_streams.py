"""Celery's transport on Redis Streams, for brokers whose messages may be lost: each is delivered at most once.

A queue is a stream of its name, read by one consumer group without acknowledgements (NOACK). So nothing is pending,
there is nothing to reclaim from a dead worker, and all workers are one consumer of the group. What was read is trimmed
away: XLEN is the number of messages that wait. It stays below `MAX_WAITING` and one node of the stream (100 messages);
then the oldest are dropped. Needs Redis 6.2 or Valkey.

Connections, the event loop and the health checks are those of kombu's Redis transport; how it stores, reads and counts
is replaced. That is private there, so kombu is pinned to 5.7: `_put`, `_size`, `_purge`, `_brpop_start`, `_brpop_read`
are called by kombu, `_in_poll` and `_brpop_sent_at` are read by it, `_flush_brpop_reauth` is called here as there.
"""

# mypy: disable-error-code="assignment, no-untyped-call"
# Kombu says that it is typed, and its classes are not.

from collections.abc import Iterator
from contextlib import contextmanager
from queue import Empty
from time import monotonic
from typing import Any

from kombu.transport import redis
from kombu.utils.json import dumps, loads
from redis import Redis, ResponseError

from crewyard_runtime.jobs.brokers import MAX_WAITING

GROUP = CONSUMER = "workers"
FIELD = b"message"


class Channel(redis.Channel):
    """A channel of kombu's whose queues are streams."""

    ack_emulation = False
    supports_fanout = False  # nor are there bindings: messages are published to their queue by its name

    def basic_consume(self, queue: str, *args: Any, **options: Any) -> None:
        # Once a connection will do: a group that is gone is an error of the read, and Celery connects again.
        with self._stream(queue) as client:
            try:
                client.xgroup_create(queue, GROUP, id="0", mkstream=True)
            except ResponseError as error:
                if not str(error).startswith("BUSYGROUP"):
                    raise
        super().basic_consume(queue, *args, **options)

    def _put(self, queue: str, message: dict[str, Any], **_: Any) -> None:
        with self._stream(queue) as client:
            client.xadd(queue, {FIELD: dumps(message)}, maxlen=MAX_WAITING)

    def _size(self, queue: str) -> int:
        with self._stream(queue) as client:
            return int(client.xlen(queue))

    def _purge(self, queue: str) -> int:
        with self._stream(queue) as client:
            return int(client.xtrim(queue, maxlen=0, approximate=False))

    def _brpop_start(self, timeout: float | None = None) -> None:
        queues = self.active_queues
        if not queues:
            return
        connection = self.client.connection
        self._in_poll, self._brpop_sent_at = connection, monotonic()
        block = int((timeout or self.brpop_timeout) * 1000)
        read = ("XREADGROUP", "GROUP", GROUP, CONSUMER, "COUNT", 1, "BLOCK", block, "NOACK", "STREAMS")
        connection.send_command(*read, *queues, *[">"] * len(queues))

    def _brpop_read(self, **options: Any) -> bool:
        connection = self.client.connection
        try:
            reply = self.client.parse_response(connection, "XREADGROUP", **options)
        except self.connection_errors:
            connection.disconnect()
            raise
        finally:
            self._in_poll = None
            self._flush_brpop_reauth()
        if not reply:
            raise Empty
        for name, entries in reply:
            queue = name.decode()
            for entry, fields in entries:
                self.connection._deliver(loads(fields[FIELD]), queue)
                self._trim(queue, entry.decode())
        return True

    def _trim(self, queue: str, read: str) -> None:
        # All up to what was read: a worker may have died before it could trim.
        milliseconds, number = read.split("-")
        with self._stream(queue) as client:
            client.xtrim(queue, minid=f"{milliseconds}-{int(number) + 1}", approximate=False)

    @contextmanager
    def _stream(self, queue: str) -> Iterator[Redis]:
        with self.conn_or_acquire() as client:
            try:
                yield client
            except ResponseError as error:
                if not str(error).startswith("WRONGTYPE"):
                    raise
                msg = f"the key {queue!r} of the broker is not a stream: delete it, or set BROKER_QUEUE to another name"
                raise ResponseError(msg) from error


class Transport(redis.Transport):
    """Kombu's Redis transport, with queues that are streams."""

    Channel = Channel
