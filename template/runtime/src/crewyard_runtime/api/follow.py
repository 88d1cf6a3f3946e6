"""The endpoint that streams the events of a run to whoever follows it."""

from typing import Annotated
from uuid import UUID

from fastapi import Header, Response
from fastapi.responses import StreamingResponse
from pydantic import Field

from crewyard_runtime.api.admission import Caller
from crewyard_runtime.api.event_stream import EventStreams
from crewyard_runtime.api.runs import find
from crewyard_runtime.store.async_database import AsyncDatabase

MOST_NUMBER = 2**31 - 1  # what the column holds
NOT_BUFFERED = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}  # by browsers, by nginx

LastEventId = Annotated[
    Annotated[str, Field(pattern="^[0-9]{1,10}$")] | None,
    Header(alias="Last-Event-ID", description="the number of the last event that was received"),
]


class EventStream(StreamingResponse):
    """Server-sent events. Not FastAPI's class: with it, nothing can be refused before the stream begins."""

    media_type = "text/event-stream"


class Follow:
    """The endpoint."""

    def __init__(self, database: AsyncDatabase, streams: EventStreams) -> None:
        self._database = database
        self._streams = streams

    async def events(self, run_id: UUID, caller: Caller, last_event_id: LastEventId = None) -> Response:
        """What happens in a run, as it happens: `id` is an event's number, `event` its kind, `data` a `crewyard.Event`.

        The stream ends after the event `run.ended`, and when the gateway stops: then come back with `Last-Event-ID`.
        """
        await self._database.transaction(find, run_id, caller)
        number = min(int(last_event_id or 0), MOST_NUMBER)
        return EventStream(self._streams.follow(run_id, number), headers=NOT_BUFFERED)
