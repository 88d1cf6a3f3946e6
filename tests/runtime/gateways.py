"""Gateways for the tests of the API: real processes, or a thread of the test, with applications of its own."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self, TypeVar

import httpx
import psutil
import uvicorn
from crewyard_runtime import Application
from crewyard_runtime.api.app import create_app as create
from crewyard_runtime.api.app import make_app
from crewyard_runtime.settings import ServiceSettings
from crewyard_runtime.store import Database, keys
from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

Found = TypeVar("Found")
START_SECONDS = 60  # a wait, not a bound: four on a busy machine import one after the other
SERVE = """
import sys
from crewyard_runtime.api.server import serve
from crewyard_runtime.settings import ServiceSettings
serve(ServiceSettings.load(), "127.0.0.1", int(sys.argv[1]), int(sys.argv[2]), "runtime.gateways:create_app")
"""


class Letter(BaseModel):
    """A letter that wants an answer."""

    model_config = ConfigDict(extra="forbid")

    text: str = Field(min_length=1, max_length=20_000)
    number: str = Field(default_factory=lambda: uuid.uuid4().hex)
    pages: list[Any] = []


class Login(BaseModel):
    """What holds a secret, and ignores what it does not know."""

    name: str
    password: SecretStr
    size: float = Field(default=1, alias="sizeInMetres")


class Trap(BaseModel):
    """What fails in a way that nobody expects."""

    text: str

    @field_validator("text")
    @classmethod
    def _fail(cls, text: str) -> str:
        msg = "the trap of the test with the secret word sesame"
        raise ZeroDivisionError(msg)


def _application(name: str, model: type[BaseModel]) -> Application:
    return Application(name=name, input=model, output=Letter, build="runtime.gateways:build")


APPLICATIONS = {name: _application(name, model) for name, model in (("mail", Letter), ("door", Login), ("trap", Trap))}


def create_app() -> FastAPI:
    """The gateway of these applications, for uvicorn."""
    return create(APPLICATIONS)


def until(what: str, find: Callable[[], Found | None], seconds: float = 20) -> Found:
    """What `find` gives as soon as it gives something true. Raises AssertionError, with `what`, after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (found := find()):
        if time.monotonic() > deadline:
            msg = f"{what} did not happen within {seconds:g} seconds"
            raise AssertionError(msg)
        time.sleep(0.02)
    return found


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def make_key(database_url: str, owner: str | None = None, operator: bool = False, may_act_for: bool = False) -> str:
    """An API key; of a new user, if none is named."""
    database = Database(database_url, 1)
    with database.transaction() as tx:
        key = keys.create(tx, owner or uuid.uuid4().hex, operator, may_act_for)
    database.close()
    return key


class Gateway:
    """A gateway as `my-crew api` starts it. `with Gateway(directory, database_url, workers=4) as gateway:`"""

    def __init__(
        self, directory: Path, database_url: str, variables: dict[str, str] | None = None, workers: int = 1
    ) -> None:
        self.database_url = database_url
        self.url = f"http://127.0.0.1:{free_port()}"
        self.log = directory / f"gateway-{uuid.uuid4().hex[:6]}.log"
        self._workers = workers
        # The broker of most tests is a port that nobody listens on.
        broker = {"BROKER": "redis", "BROKER_URL": f"redis://127.0.0.1:{free_port()}/0"}
        self._variables = {"DATABASE_URL": database_url, **broker, **(variables or {})}

    def __enter__(self) -> Self:
        port = self.url.rpartition(":")[2]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", SERVE, port, str(self._workers)],
                env={**os.environ, **self._variables},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        until(f"the start of {self._workers} workers", self._has_started, START_SECONDS)
        return self

    def __exit__(self, *error: object) -> None:
        family = self.processes() if self.process.poll() is None else []
        for process in family:
            process.kill()
        self.process.wait()

    def processes(self) -> list[psutil.Process]:
        """The process that was started and those that it started."""
        process = psutil.Process(self.process.pid)
        return [process, *process.children(recursive=True)]

    def client(self, key: str | None = None, **headers: str) -> httpx.Client:
        """An HTTP client of a user; of a new one, if no key is given."""
        authorization = {"Authorization": f"Bearer {key or make_key(self.database_url)}"}
        return httpx.Client(base_url=self.url, headers={**authorization, **headers}, timeout=30, trust_env=False)

    def lines(self) -> list[dict[str, Any]]:
        """What it has logged so far."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def _has_started(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()[-3_000:]
        started = [line for line in self.lines() if line["message"] == "Application startup complete."]
        return len(started) == self._workers


class Wakes:
    """Counts wake-up calls, in place of a broker."""

    def __init__(self) -> None:
        self.sent = 0

    def send(self) -> None:
        """Count one."""
        self.sent += 1

    def ping(self, seconds: float) -> None:
        """All is well."""


@contextmanager
def in_thread(settings: ServiceSettings, wakes: Wakes) -> Iterator[str]:
    """The URL of a gateway in a thread of the test."""
    server = uvicorn.Server(
        uvicorn.Config(make_app(settings, APPLICATIONS, wakes), port=free_port(), log_config=None, access_log=False)
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until("the start of the gateway", lambda: server.started)
        yield f"http://127.0.0.1:{server.config.port}"
    finally:
        server.should_exit = True
        thread.join()
