"""One log line a request, and the id by which all lines of a request are found."""

import logging
import re
import time
import uuid

from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crewyard_runtime import logs
from crewyard_runtime.api.problems import internal_error

HEADER = b"x-request-id"
TAKEN = re.compile(rb"[A-Za-z0-9_.:-]{1,128}")
MOST_PATH = 200  # characters

log = logging.getLogger("crewyard.api")


class RequestLog:
    """Wraps an ASGI application: takes the id of a request or makes one, returns it, and logs how the request ended."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; what the application raises becomes a problem, and a traceback in the log."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = dict(scope["headers"]).get(HEADER, b"")
        request_id = given.decode() if TAKEN.fullmatch(given) else str(uuid.uuid4())
        started = time.perf_counter()
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (HEADER, request_id.encode())]
            await send(message)

        with logs.ids(request_id, None):
            try:
                await self._app(scope, receive, send_with_id)
            except Exception:
                log.exception("the gateway failed")
                if status == 0:
                    await internal_error(Request(scope))(scope, receive, send_with_id)
            finally:
                _tell(scope, status, time.perf_counter() - started)


def _tell(scope: Scope, status: int, seconds: float) -> None:
    """status: 0 if there was none, because the client had gone."""
    path = getattr(scope.get("route"), "path_format", scope["path"][:MOST_PATH])
    run_id = scope.get("path_params", {}).get("run_id") or scope.get("state", {}).get("run_id")
    fields = {"method": scope["method"], "path": path, "status": status, "milliseconds": round(seconds * 1_000, 1)}
    with logs.ids(logs.request_id.get(), run_id and str(run_id)):
        log.info("%s %s %d", scope["method"], path, status, extra=fields)
