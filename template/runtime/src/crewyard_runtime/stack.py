"""A whole service on one machine, for `dev` and `demo`: its servers, the gateway, workers and a model."""

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from crewyard_runtime import embedded
from crewyard_runtime.children import Child, Children, Interrupts, Show
from crewyard_runtime.errors import NotReady
from crewyard_runtime.memory.access import migration
from crewyard_runtime.settings import RuntimeSettings, ServiceSettings
from crewyard_runtime.store import Database

HOST = "127.0.0.1"
READY_SECONDS = 120


@dataclass(frozen=True)
class Stack:
    """A service that is ready. url: of its gateway. settings: of its runs."""

    url: str
    settings: RuntimeSettings
    database: Database
    children: Children
    workers: list[Child]


def model_server_settings(url: str) -> dict[str, Any]:
    """The settings that send a project's runs to the model server at `url`."""
    return {
        "openai_base_url": url,
        "openai_api_key": "offline",
        "model_fast": "openai/gpt-4o-mini",
        "model_strong": "openai/gpt-4o",
    }


def check_port(port: int) -> None:
    """Raises NotReady if somebody else has the gateway's port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            msg = f"port {port} of {HOST} cannot be used ({error.strerror}): give another one with --port."
            raise NotReady(msg) from error


@contextmanager
def serve(
    service: ServiceSettings,
    settings: RuntimeSettings,
    directory: Path,
    overrides: dict[str, Any],
    *,
    port: int,
    workers: int,
    show: Show | None = None,
) -> Iterator[Stack]:
    """A service of the project that has these settings, until the block ends; on its way out all of it ends.

    directory: where the embedded servers keep their data, for those that `service` does not name. overrides: settings
    that the gateway and the workers get above all sources. show: see Children. Raises NotReady.
    """
    with ExitStack() as stack:
        interrupts = stack.enter_context(Interrupts())
        try:
            urls, settings = _servers(stack, service, settings, directory)
            database = Database(urls["DATABASE_URL"])
            stack.callback(database.close)
            database.migrate(migration(settings))
        except embedded.ServerNotStarted as error:
            raise NotReady(str(error)) from error
        except SQLAlchemyError as error:
            why = str(error.__cause__ or error).partition("\n")[0]
            msg = f"the database cannot be used: {why}"
            raise NotReady(msg) from error
        environment = {**_variables(overrides), **urls, **_no_proxy()}
        children = stack.enter_context(Children(interrupts, service.grace_seconds, show))
        gateway = children.start("api", _command("api", "--host", HOST, "--port", str(port)), environment)
        made = [children.start(f"worker-{n}", _command("worker"), environment) for n in range(1, workers + 1)]
        # Asked of themselves: on its port there could be somebody else.
        for child, words in [(gateway, "Uvicorn running on"), *((worker, " is ready for ") for worker in made)]:
            children.wait_until(partial(child.has_said, words), READY_SECONDS, f"the start of {child.name}")
        yield Stack(f"http://{HOST}:{port}", settings, database, children, made)


def _servers(
    stack: ExitStack, service: ServiceSettings, settings: RuntimeSettings, directory: Path
) -> tuple[dict[str, str], RuntimeSettings]:
    """The variables that name the servers, and the settings on them; what is not named in the settings is started."""
    urls = {}
    if service.database_url is not None:
        urls["DATABASE_URL"] = service.database_url.get_secret_value()
    else:
        urls["DATABASE_URL"] = stack.enter_context(embedded.postgres(directory))
        settings = settings.on_embedded(urls["DATABASE_URL"])
    urls["MEMORY"] = settings.memory
    if settings.memory_database_url is not None:
        urls["MEMORY_DATABASE_URL"] = settings.memory_database_url.get_secret_value()
    if service.broker_url is None:
        urls["BROKER"], urls["BROKER_URL"] = "redis", stack.enter_context(embedded.valkey(directory))
    return urls, settings


def _variables(settings: dict[str, Any]) -> dict[str, str]:
    return {name.upper(): str(value) for name, value in settings.items() if value is not None}


def _no_proxy() -> dict[str, str]:
    """A proxy that the user has set cannot reach the model server, which is on this machine."""
    return {name: ",".join(filter(None, [HOST, os.environ.get(name)])) for name in ("NO_PROXY", "no_proxy")}


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "crewyard_runtime", *arguments]
