"""Whether the gateway lives, and whether it can do its work: for whoever starts it and sends requests its way."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Literal
from urllib.parse import unquote, urlsplit

from fastapi import Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, SecretStr
from sqlalchemy.exc import DBAPIError

from crewyard_runtime.api.problems import AGAIN_SECONDS, Refused
from crewyard_runtime.api.queue import Wakes
from crewyard_runtime.settings import ServiceSettings
from crewyard_runtime.store import Database

ASK_SECONDS = 1.5
MOST_TEXT = 300  # characters


class Health(BaseModel):
    """That all is well."""

    status: Literal["ok"] = "ok"


class Healths:
    """The two endpoints, without authentication. They take no thread and no connection of the others' pools."""

    def __init__(self, settings: ServiceSettings, database: Database, wake_ups: Wakes) -> None:
        self._secrets = [_password(url) for url in (settings.database_url, settings.broker_url) if url is not None]
        # One thread each: a server that hangs holds one thread, however often somebody asks.
        self._checks: dict[str, tuple[Callable[[], None], ThreadPoolExecutor]] = {
            "database": (database.ping, ThreadPoolExecutor(1, "ready-database")),
            "broker": (lambda: wake_ups.ping(ASK_SECONDS), ThreadPoolExecutor(1, "ready-broker")),
        }
        self._asking: asyncio.Task[list[str]] | None = None

    async def alive(self) -> Health:
        """That the process answers."""
        return Health()

    async def ready(self) -> Response:
        """That the database and the broker answered just now."""
        # Whoever asks meanwhile gets the same answer.
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask())
        failures = await asyncio.shield(self._asking)
        if failures:
            raise Refused(503, "; ".join(failures), after_seconds=AGAIN_SECONDS)
        return JSONResponse(Health().model_dump())

    def close(self) -> None:
        """Ask no more."""
        for _, threads in self._checks.values():
            threads.shutdown(wait=False, cancel_futures=True)

    async def _ask(self) -> list[str]:
        answers = await asyncio.gather(*(self._why_not(name) for name in self._checks))
        return [answer for answer in answers if answer]

    async def _why_not(self, name: str) -> str | None:
        check, threads = self._checks[name]
        try:
            await asyncio.wait_for(asyncio.get_running_loop().run_in_executor(threads, check), ASK_SECONDS)
        except TimeoutError:
            return f"The {name} did not answer within {ASK_SECONDS:g} seconds."
        except Exception as error:
            return f"The {name} is not available: {self._told(error)}"
        return None

    def _told(self, error: Exception) -> str:
        text = str(error.orig if isinstance(error, DBAPIError) else error).strip().partition("\n")[0]
        for secret in filter(None, self._secrets):
            text = text.replace(secret, "***")
        return f"{type(error).__name__}: {text[:MOST_TEXT]}"


def _password(url: SecretStr) -> str:
    return unquote(urlsplit(url.get_secret_value()).password or "")
