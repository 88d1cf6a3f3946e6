"""What the gateway shows of runs, as its OpenAPI document describes it."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from fastapi import Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Row

from crewyard_runtime.execution.messages import Failure
from crewyard_runtime.store.runs import Page

Status = Literal["queued", "running", "succeeded", "failed", "timed_out", "cancelled", "dead"]
AttemptStatus = Literal["running", "succeeded", "failed", "timed_out", "cancelled", "lost", "returned"]
Cost = Annotated[float | None, Field(description="US dollars; null if the price of a call is not known")]
# Every text of this form is a cursor, so that the OpenAPI document can say which ones are taken.
Cursor = Annotated[str, Field(pattern=r"^[0-9]{1,16}-[0-9a-f]{32}$")]

START = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


class _View(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    def as_response(self, status: int = 200, headers: dict[str, str] | None = None) -> Response:
        """The view as JSON. Not Pydantic's own: half a character in a run's output would end it."""
        return Response(json.dumps(self.model_dump(mode="json")), status, headers, "application/json")


class Attempt(_View):
    """One try of a run by one worker."""

    number: int
    worker: str
    status: AttemptStatus = Field(description="lost: it died without a result; returned: its worker had to stop")
    error: Failure | None
    started_at: datetime
    finished_at: datetime | None
    build_seconds: float | None
    run_seconds: float | None
    model_calls: int
    prompt_tokens: int
    completion_tokens: int
    cost_usd: Cost


class RunSummary(_View):
    """A run, without what went in and what came out."""

    id: UUID
    application: str
    user_id: str | None
    status: Status
    cancel_requested: bool
    attempt: int = Field(description="how many attempts were started")
    request_id: str | None
    created_at: datetime
    queued_at: datetime = Field(description="when it was last put into the queue")
    started_at: datetime | None
    finished_at: datetime | None
    model_calls: int
    prompt_tokens: int
    completion_tokens: int
    cost_usd: Cost


class Run(RunSummary):
    """A run. Its tokens and cost are those of all its attempts."""

    input: Any
    output: Any
    error: Failure | None
    attempts: list[Attempt]

    @classmethod
    def of(cls, row: Row[Any], attempts: Iterable[Row[Any]]) -> Self:
        """The view of a run as the store gives it."""
        return cls.model_validate({**row._mapping, "attempts": list(attempts)})


class RunPage(_View):
    """Some runs, newest first."""

    items: list[RunSummary]
    next: str | None = Field(description="the cursor of the next page; null at the end")

    @classmethod
    def of(cls, page: Page) -> Self:
        """The view of a page as the store gives it."""
        return cls.model_validate({"items": page.runs, "next": page.next and _cursor(*page.next)})


class Event(_View):
    """Something that happened in a run."""

    number: int = Field(ge=1)
    attempt: int = Field(ge=0)
    kind: str
    data: Any
    at: datetime


def place_of(cursor: str) -> tuple[datetime, UUID]:
    """Where the page of a `Cursor` begins."""
    microseconds, _, run_id = cursor.partition("-")
    return START + int(microseconds) * MICROSECOND, UUID(run_id)


def _cursor(created_at: datetime, run_id: UUID) -> str:
    return f"{(created_at - START) // MICROSECOND}-{run_id.hex}"
