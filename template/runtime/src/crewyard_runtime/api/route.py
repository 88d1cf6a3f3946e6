"""A route whose requests are admitted before anything of them is read, and whose bodies have bounds."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from crewyard_runtime.api.admission import Admission
from crewyard_runtime.api.body import BoundedRequest
from crewyard_runtime.api.openapi import ADMITTED
from crewyard_runtime.settings import ServiceSettings


class AdmittedRoute(APIRoute):
    """For an application whose state has `admission` and `settings`."""

    def __init__(self, *arguments: Any, **given: Any) -> None:
        super().__init__(*arguments, **{**given, "openapi_extra": ADMITTED})

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """What handles a request."""
        handle = super().get_route_handler()

        async def admit(request: Request) -> Response:
            admission: Admission = request.app.state.admission
            settings: ServiceSettings = request.app.state.settings
            bounded = BoundedRequest(request.scope, request.receive, settings.body_bytes, settings.body_depth)
            bounded.state.principal = await admission.admit(bounded)
            return await handle(bounded)

        return admit
