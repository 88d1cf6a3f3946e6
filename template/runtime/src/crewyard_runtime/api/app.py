"""The gateway as an ASGI application, for uvicorn and for tests."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI

from crewyard_runtime import alive, logs
from crewyard_runtime.api.admission import Admission
from crewyard_runtime.api.event_stream import EventStreams
from crewyard_runtime.api.follow import Follow
from crewyard_runtime.api.health import Healths
from crewyard_runtime.api.openapi import describe
from crewyard_runtime.api.problems import add_handlers
from crewyard_runtime.api.queue import Queue, Wakes
from crewyard_runtime.api.request_log import RequestLog
from crewyard_runtime.api.route import AdmittedRoute
from crewyard_runtime.api.routes import add_healths, add_runs, add_submits
from crewyard_runtime.api.runs import Runs
from crewyard_runtime.api.stopping import told_to_stop
from crewyard_runtime.api.submit import Submits
from crewyard_runtime.application import Application, find_applications
from crewyard_runtime.privacy import keep_private
from crewyard_runtime.settings import ServiceSettings
from crewyard_runtime.store import Database
from crewyard_runtime.store.async_database import AsyncDatabase

CONNECTIONS = 8  # to Postgres, of one process: with more, they only wait for each other


def create_app(applications: dict[str, Application] | None = None) -> FastAPI:
    """The gateway of this project, with JSON logs and private memory, for a process of its own (`uvicorn --factory`).

    applications: in place of the project's own. Raises ValidationError and NoApplication; `check` tells them better.
    """
    logs.configure()
    keep_private()
    return make_app(ServiceSettings.load(), find_applications() if applications is None else applications)


def make_app(settings: ServiceSettings, applications: dict[str, Application], wake_ups: Wakes | None = None) -> FastAPI:
    """The gateway of these applications. Raises ValueError for settings or names that it cannot work with."""
    if settings.database_url is None:
        msg = "DATABASE_URL is not set: give the URL of a Postgres, for example postgresql://localhost/crew."
        raise ValueError(msg)
    url = settings.database_url.get_secret_value()
    database, aside, listener = AsyncDatabase(url, CONNECTIONS), Database(url, 1), Database(url, 1)
    wakes = _wake_ups(settings) if wake_ups is None else wake_ups
    streams = EventStreams(database, listener)
    healths = Healths(settings, aside, wakes)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        streams.start()
        signs = asyncio.create_task(_give_signs())
        with told_to_stop(streams.close):
            yield
        signs.cancel()
        streams.close()
        healths.close()
        await database.close()
        aside.close()
        listener.close()

    app = FastAPI(
        title="Runs",
        description="Each response has an `X-Request-ID`: that of its request, or a new one. It is in every log line.",
        version=version("crewyard-runtime"),
        lifespan=lifespan,
        redirect_slashes=False,
        docs_url=None,  # its page loads scripts from elsewhere
        redoc_url=None,
    )
    app.router.route_class = AdmittedRoute
    app.state.settings = settings
    app.state.admission = Admission(settings, database)
    app.add_middleware(RequestLog)
    add_handlers(app)
    describe(app)
    queue = Queue(settings.queue_bound, wakes)
    add_submits(app, Submits(settings, database, queue), applications)
    add_runs(app, Runs(settings, database, queue), Follow(database, streams))
    add_healths(app, healths)
    return app


async def _give_signs() -> None:
    while True:
        alive.sign()
        await asyncio.sleep(alive.SECONDS)


def _wake_ups(settings: ServiceSettings) -> Wakes:
    from crewyard_runtime.jobs.wake_ups import WakeUps

    wakes = WakeUps(settings)
    wakes.load()
    return wakes
