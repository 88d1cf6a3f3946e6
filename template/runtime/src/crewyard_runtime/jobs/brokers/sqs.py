"""Celery's transport on SQS, for workers that go on by themselves after whatever SQS answers.

Kombu's own reads in its event loop, where an answer of 4xx (a queue that is gone, a token that ran out) ends the worker
and an endpoint that is down is an AttributeError. This one reads by boto3, whose errors Celery takes for a connection
that was lost: it connects again, and makes the queue again if it is gone. Of kombu 5.7 `_receive_message` is replaced,
and `_new_queue` and `_new_boto_client` are called; all are private.
"""

# mypy: disable-error-code="assignment, import-untyped, no-untyped-call"
# Kombu says that it is typed, and its classes are not.

from functools import cached_property
from typing import Any

from botocore.config import Config
from botocore.exceptions import ClientError
from kombu.transport import SQS


class Channel(SQS.Channel):
    """A channel of kombu's that waits for messages without an event loop."""

    def _receive_message(
        self, queue: str, max_number_of_messages: int = 1, wait_time_seconds: int | None = None
    ) -> dict[str, Any]:
        seconds = wait_time_seconds or self.wait_time_seconds
        reply: dict[str, Any] = self._reader.receive_message(
            QueueUrl=self._new_queue(queue), MaxNumberOfMessages=max_number_of_messages, WaitTimeSeconds=seconds
        )
        return reply

    @cached_property
    def _reader(self) -> Any:
        """A client of its own: a read takes as long as the long poll, which is longer than a publisher may wait."""
        patience = self.transport_options["client-config"]["read_timeout"] + self.wait_time_seconds
        account = self.conninfo.userid, self.conninfo.password
        return self._new_boto_client("sqs", self.region, *account, config=Config(read_timeout=patience))


class Transport(SQS.Transport):
    """Kombu's SQS transport, read by boto3."""

    Channel = Channel
    connection_errors = (*SQS.Transport.connection_errors, ClientError)
    implements = SQS.Transport.implements.extend(asynchronous=False)
