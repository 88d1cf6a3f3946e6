"""The gateway's server process, or processes, for the command `api`."""

import logging
import signal
import sys
from types import FrameType

import uvicorn

from crewyard_runtime import logs
from crewyard_runtime.api.problems import DATABASE_ERRORS
from crewyard_runtime.privacy import keep_private
from crewyard_runtime.settings import ServiceSettings
from crewyard_runtime.store import Database, SchemaBehind

APP_FACTORY = "crewyard_runtime.api.app:create_app"
GRACE_SECONDS = 15  # for requests that are being answered; only one that waits for a hanging database takes so long

log = logging.getLogger("crewyard.api")


def serve(settings: ServiceSettings, host: str, port: int, workers: int = 1, app_factory: str = APP_FACTORY) -> None:
    """Serve until SIGTERM or SIGINT. Raises SystemExit: with 0 at SIGTERM, with another code if it cannot start.

    workers: processes. app_factory: "module:function"; each process calls it, and it reads the settings by itself.
    """
    # Before uvicorn has its handlers, and after: it sends itself the signal again once it has stopped.
    signal.signal(signal.SIGTERM, _leave)
    keep_private()
    logs.configure()
    _tell_if_not_ready(settings)
    uvicorn.run(
        app_factory,
        factory=True,
        host=host,
        port=port,
        workers=workers,
        log_config=None,
        access_log=False,
        server_header=False,
        ws="none",
        timeout_graceful_shutdown=GRACE_SECONDS,
    )


def _leave(number: int, frame: FrameType | None) -> None:
    sys.exit(0)


def _tell_if_not_ready(settings: ServiceSettings) -> None:
    """Say what `/readyz` will say too; the gateway starts all the same, and is ready once the database is."""
    if settings.database_url is None:
        return
    database = Database(settings.database_url.get_secret_value(), 1)
    try:
        database.ping()
    except DATABASE_ERRORS as error:
        log.warning("the database cannot be reached yet: %s", str(getattr(error, "orig", error)).partition("\n")[0])
    except SchemaBehind as error:
        log.warning("%s", error)
    finally:
        database.close()
