"""Errors as RFC 9457 problems, in one shape for every status, for whoever asks the gateway."""

import logging
import math
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import sqlalchemy.exc
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from crewyard_runtime import logs

MEDIA_TYPE = "application/problem+json"
AGAIN_SECONDS = 2.0  # after which a client may hope that what is away is back
MOST_ERRORS = 20
MOST_TEXT = 200  # characters of what may repeat the request

# What a server that is away, starting, full or in recovery raises; DataError and ProgrammingError would be our fault.
DATABASE_ERRORS = (
    sqlalchemy.exc.OperationalError,
    sqlalchemy.exc.InterfaceError,
    sqlalchemy.exc.InternalError,
    sqlalchemy.exc.TimeoutError,
)

log = logging.getLogger("crewyard.api")


class FieldError(BaseModel):
    """One thing that is wrong with a request."""

    loc: list[str | int] = Field(description="where, from the outside in", examples=[["body", "subject"]])
    msg: str = Field(description="what is wrong", examples=["Field required"])
    type: str = Field(description="its kind", examples=["missing"])


class Problem(BaseModel):
    """Why a request was not done (RFC 9457)."""

    type: str = Field(examples=["about:blank"])
    title: str = Field(examples=["Not Found"])
    status: int = Field(ge=400, le=599, examples=[404])
    detail: str = Field(examples=["There is no such run."])
    instance: str = Field(description="the path that was asked for", examples=["/runs/support"])
    request_id: str | None = Field(description="what to look for in the logs")
    errors: list[FieldError] | None = Field(default=None, description="what is wrong with the request, one by one")


class Refused(HTTPException):
    """Ends a request with a problem. after_seconds: when to ask again."""

    def __init__(
        self, status: int, detail: str, headers: dict[str, str] | None = None, after_seconds: float | None = None
    ) -> None:
        again = {} if after_seconds is None else {"Retry-After": str(math.ceil(after_seconds))}
        super().__init__(status, detail, {**(headers or {}), **again})


def respond(request: Request, refused: HTTPException, errors: list[FieldError] | None = None) -> Response:
    """The response that tells a problem."""
    problem = Problem(
        type="about:blank",
        title=HTTPStatus(refused.status_code).phrase,
        status=refused.status_code,
        detail=refused.detail,
        instance=quote(request.scope["path"])[:2_000],
        request_id=logs.request_id.get(),
        errors=errors,
    )
    content = problem.model_dump(mode="json", exclude_none=errors is None)
    return JSONResponse(content, refused.status_code, dict(refused.headers or {}), MEDIA_TYPE)


def internal_error(request: Request) -> Response:
    """The response for what nobody has thought of; the log has the traceback."""
    return respond(request, Refused(500, "The gateway failed: look for the request's id in its logs."))


def add_handlers(app: FastAPI) -> None:
    """Let every error of an application become a problem."""
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    for kind in DATABASE_ERRORS:
        app.add_exception_handler(kind, _no_database)


async def _refused(request: Request, error: Any) -> Response:
    return respond(request, error)


async def _invalid(request: Request, error: Any) -> Response:
    found: Sequence[Any] = error.errors()
    errors = [
        FieldError(
            loc=[part if isinstance(part, int) else str(part)[:MOST_TEXT] for part in each["loc"]],
            msg=each["msg"][:MOST_TEXT],
            type=each["type"],
        )
        for each in found[:MOST_ERRORS]
    ]
    first = errors[0]
    more = f", and {len(found) - 1} more" if len(found) > 1 else ""
    detail = f"The request is not valid: {'.'.join(map(str, first.loc))}: {first.msg}{more}."
    return respond(request, Refused(422, detail), errors)


async def _no_database(request: Request, error: Any) -> Response:
    said = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
    log.warning("the database is not available: %s", said)
    return respond(request, Refused(503, "The database is not available: try again soon.", after_seconds=AGAIN_SECONDS))
