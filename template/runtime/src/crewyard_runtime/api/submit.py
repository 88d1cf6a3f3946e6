"""How a run is taken in: an endpoint for each application, so that each one's input is documented."""

import hashlib
import json
import uuid
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import Body, Header, Request, Response
from pydantic import BaseModel, Field
from sqlalchemy import Connection
from starlette.concurrency import run_in_threadpool

from crewyard_runtime import logs
from crewyard_runtime.api import webhook_url
from crewyard_runtime.api.admission import Caller
from crewyard_runtime.api.body import BoundedRequest
from crewyard_runtime.api.problems import AGAIN_SECONDS, Refused
from crewyard_runtime.api.queue import Queue
from crewyard_runtime.api.views import Run
from crewyard_runtime.application import Application
from crewyard_runtime.identity import Principal
from crewyard_runtime.settings import ServiceSettings
from crewyard_runtime.store import intake, runs
from crewyard_runtime.store.async_database import AsyncDatabase

MOST_KEY = 255  # characters
MOST_URL = 2_000  # characters

# What is documented of a URL; `webhook_url.check` takes the hosts that the settings name, too.
URL = r"^https://([a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?\.){1,4}[a-z]{2,20}(:(443|8443))?(/[A-Za-z0-9._~/?=&-]*)?$"

IdempotencyKey = Annotated[
    Annotated[str, Field(min_length=1, max_length=MOST_KEY, pattern="^[ -~]+$")] | None,
    Header(alias="Idempotency-Key", description="the same key with the same request gives the run of the first one"),
]
Url = Annotated[str, Field(max_length=MOST_URL, json_schema_extra={"format": "uri", "pattern": URL})] | None


class Submits:
    """Makes the endpoints."""

    def __init__(self, settings: ServiceSettings, database: AsyncDatabase, queue: Queue) -> None:
        self._settings = settings
        self._database = database
        self._queue = queue

    def endpoint(self, application: Application) -> Callable[..., Awaitable[Response]]:
        """The endpoint that takes runs of an application in."""

        async def submit(
            request: Request,
            caller: Caller,
            content: BaseModel,
            idempotency_key: IdempotencyKey = None,
            webhook: str | None = None,
        ) -> Response:
            assert isinstance(request, BoundedRequest)
            if webhook is not None:
                await run_in_threadpool(webhook_url.check, webhook, self._settings)  # it resolves a name
            new = intake.NewRun(
                id=uuid.uuid4(),
                application=application.name,
                user_id=caller.user_id,
                input=_storable(content, request.content),
                max_attempts=self._settings.max_attempts,
                request_id=logs.request_id.get(),
                webhook_url=webhook,
            )
            request_hash = _hash(application.name, webhook, request.canonical)
            run, replayed = await self._take_in(new, caller, idempotency_key, request_hash)
            request.state.run_id = str(run.id)
            headers = {"Location": f"/runs/{run.id}"}
            return run.as_response(202, {**headers, "Idempotency-Replayed": "true"} if replayed else headers)

        submit.__annotations__["content"] = Annotated[application.input, Body()]
        submit.__annotations__["webhook"] = Annotated[Url, self._webhook_header()]
        submit.__doc__ = application.input.__doc__
        return submit

    def _webhook_header(self) -> Any:
        return Header(
            alias="Webhook-URL",
            description="where to send, signed, how the run ended: a public host, by https",
            examples=["https://example.com/hook"],
            include_in_schema=self._settings.webhook_secret is not None,
        )

    async def _take_in(
        self, new: intake.NewRun, caller: Principal, key: str | None, request_hash: str
    ) -> tuple[Run, bool]:
        """The run, and whether it was taken in before. Raises Refused (409, 503)."""
        count_to = self._queue.count_to()
        taken = await self._database.statements(
            intake.submit, new, key, request_hash, caller.actor, self._queue.bound, count_to
        )
        if taken.run is None and key is not None:
            before = await self._database.transaction(_taken_before, caller.user_id, key, request_hash)
            if before is not None:
                return before, True
        self._queue.check(taken.waiting, count_to)
        if taken.run is None:
            raise Refused(503, "The run of this key was deleted just now: try again.", after_seconds=AGAIN_SECONDS)
        await self._queue.wake(taken.waiting)
        return Run.of(taken.run, []), False


def _taken_before(tx: Connection, user_id: str, key: str, request_hash: str) -> Run | None:
    try:
        found = intake.submitted_with(tx, user_id, key, request_hash)
    except intake.IdempotencyConflict as error:
        raise Refused(409, str(error)) from error
    return None if found is None else Run.of(found, runs.attempts_of(tx, found.id))


def _storable(content: BaseModel, given: Any) -> Any:
    """The input as a worker will validate it again: with its defaults, so that all attempts see the same ones.

    As it was given, where the model's own dump is not valid input for it (secrets, some aliases and serializers).
    """
    try:
        dumped = content.model_dump(mode="json", by_alias=True, round_trip=True)
        json.dumps(dumped, allow_nan=False)
        return dumped if type(content).model_validate(dumped) == content else given
    except Exception:  # of the team's own serializers and validators
        return given


def _hash(application: str, webhook: str | None, canonical: str) -> str:
    return hashlib.sha256(json.dumps([application, webhook, canonical]).encode()).hexdigest()
