"""The memory that a project has chosen, at a place of its own, for fixtures."""

import os
import warnings
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self
from unittest import mock

from sqlalchemy import text

from crewyard_runtime.jobs.memory_tokens import MemoryTokens
from crewyard_runtime.memory import Memory
from crewyard_runtime.memory.opening import open_memory
from crewyard_runtime.memory.user_memory import UserMemory
from crewyard_runtime.settings import RuntimeSettings
from crewyard_runtime.store import Database
from crewyard_runtime.testing.mem0_server import Mem0Server
from crewyard_runtime.testing.service import Service, memory_variables

PATIENCE = {"recall_seconds": 30.0, "remember_seconds": 30.0}


class Memories:
    """The memories of several users. database: whose owner this is; reported: the events of all of them."""

    def __init__(self, settings: RuntimeSettings, database: Database) -> None:
        self.settings = settings.model_copy(update={"limits": settings.limits.model_copy(update=PATIENCE)})
        self.database = database
        self.reported: list[tuple[str, dict[str, Any]]] = []
        self._tokens = MemoryTokens(database, settings)
        self._opened: dict[str, Memory] = {}

    @classmethod
    def of_service(cls, service: Service) -> Self:
        """Those of a service's runs."""
        known = RuntimeSettings.model_fields
        given = {name.lower(): value for name, value in service.environment.items() if name.lower() in known}
        return cls(RuntimeSettings.load(**given), service.database)

    def of(self, user_id: str) -> Memory:
        """One user's, as a run of this user has it, but with patience."""
        if user_id not in self._opened:
            self._opened[user_id] = self.open(user_id)
        return self._opened[user_id]

    def close(self) -> None:
        """Close every connection; a server has a hundred."""
        for memory in self._opened.values():
            if isinstance(memory, UserMemory):
                memory._store.close()
        self._opened.clear()

    def open(self, user_id: str | None, **limits: Any) -> Memory:
        """Another hold on one user's memory; `limits` changes what a run may use."""
        settings = self.settings.model_copy(update={"limits": self.settings.limits.model_copy(update=limits)})
        token = self._tokens.sign(user_id)
        return open_memory(settings, user_id, token, lambda kind, data: self.reported.append((kind, data)))

    def owner_does(self, *statements: str) -> None:
        """SQL of the owner of the memory on Postgres."""
        with self.database.transaction() as tx:
            for statement in statements:
                tx.execute(text(statement))


def project_memory(stack: ExitStack, database_url: str, directory: Path, model_url: str) -> RuntimeSettings:
    """Settings with the memory that the project has chosen, at a place of tests; what is started ends with `stack`.

    Where TEST_QDRANT_URL names no server, Qdrant's client is in its local mode, with a warning. Mem0's cloud costs
    money, so a server stands in for it that speaks its protocol.
    """
    chosen = RuntimeSettings.load()
    variables: dict[str, Any] = {"openai_base_url": model_url, "openai_api_key": "offline"}
    if chosen.memory == "mem0-cloud":
        server = Mem0Server("m0-test")
        stack.callback(server.close)
        variables |= {"memory": "mem0-cloud", "mem0_url": server.url, "mem0_api_key": "m0-test"}
    elif chosen.memory == "qdrant":
        variables |= {"memory": "qdrant", "qdrant_url": os.environ.get("TEST_QDRANT_URL") or _local_qdrant(stack)}
    else:
        variables |= {name.lower(): value for name, value in memory_variables(database_url, directory).items()}
    return RuntimeSettings.load(**variables)


def _local_qdrant(stack: ExitStack) -> str:
    """The URL of nobody: until the end of `stack` every client is one and the same, in this process."""
    from qdrant_client import QdrantClient

    from crewyard_runtime.memory import qdrant

    class Local(QdrantClient):
        def close(self, *_: Any, **__: Any) -> None:
            """Stay open."""

        def create_payload_index(self, *_: Any, **__: Any) -> Any:
            """Do nothing: local mode has no indexes, and warns."""

    warnings.warn("TEST_QDRANT_URL names no Qdrant server: this is the local mode of its client", stacklevel=2)
    local = Local(":memory:")
    stack.enter_context(mock.patch.object(qdrant, "_client", return_value=local))
    return "http://qdrant.invalid"
