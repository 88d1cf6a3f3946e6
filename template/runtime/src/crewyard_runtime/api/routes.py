"""Which request goes to which endpoint, and what is documented of it."""

from fastapi import FastAPI, Response, status
from fastapi.routing import APIRoute

from crewyard_runtime.api.follow import Follow
from crewyard_runtime.api.health import Health, Healths
from crewyard_runtime.api.openapi import EVENTS, LOCATION, problems
from crewyard_runtime.api.runs import Runs
from crewyard_runtime.api.submit import Submits
from crewyard_runtime.api.views import Run, RunPage
from crewyard_runtime.application import Application

# A convertor, so that an id that is none is not found, and a name of an application is no id.
RUN = "/runs/{run_id:uuid}"
ALWAYS = (401, 403, 422, 429, 500, 503)


def add_submits(app: FastAPI, submits: Submits, applications: dict[str, Application]) -> None:
    """Add a route for each application, with its input model."""
    for name, application in sorted(applications.items()):
        app.add_api_route(
            f"/runs/{name}",
            submits.endpoint(application),
            methods=["POST"],
            status_code=status.HTTP_202_ACCEPTED,
            response_model=Run,
            responses={202: LOCATION, **problems(*ALWAYS, 409, 413, 415)},
            summary=f"Run {name}",
            operation_id=f"submit_{name}",
            tags=["runs"],
        )


def add_runs(app: FastAPI, runs: Runs, follow: Follow) -> None:
    """Add what can be asked of runs that were taken in."""
    app.add_api_route(
        "/runs", runs.page, response_model=RunPage, responses=problems(*ALWAYS), operation_id="list_runs", tags=["runs"]
    )
    app.add_api_route(
        RUN, runs.show, response_model=Run, responses=problems(*ALWAYS, 404), operation_id="show_run", tags=["runs"]
    )
    app.add_api_route(
        f"{RUN}/events",
        follow.events,
        response_class=Response,
        responses={200: EVENTS, **problems(*ALWAYS, 404)},
        operation_id="follow_run",
        tags=["runs"],
    )
    app.add_api_route(
        f"{RUN}/cancel",
        runs.cancel,
        methods=["POST"],
        status_code=status.HTTP_202_ACCEPTED,
        response_model=Run,
        responses=problems(*ALWAYS, 404),
        operation_id="cancel_run",
        tags=["runs"],
    )
    app.add_api_route(
        f"{RUN}/retry",
        runs.retry,
        methods=["POST"],
        status_code=status.HTTP_202_ACCEPTED,
        response_model=Run,
        responses=problems(*ALWAYS, 404, 409),
        operation_id="retry_run",
        tags=["runs"],
    )


def add_healths(app: FastAPI, healths: Healths) -> None:
    """Add what whoever starts the gateway asks; without authentication."""
    for path, endpoint, failures in (("/healthz", healths.alive, (500,)), ("/readyz", healths.ready, (500, 503))):
        app.router.add_api_route(
            path,
            endpoint,
            route_class_override=APIRoute,
            response_model=Health,
            responses=problems(*failures),
            operation_id=path[1:],
            tags=["health"],
        )
