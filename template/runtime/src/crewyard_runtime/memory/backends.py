"""The back ends of the memory: one module each, imported when a project has chosen it. This one imports none."""

import os
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

from crewyard_runtime.memory.records import Embedder, MemoryStore
from crewyard_runtime.settings import RuntimeSettings

if TYPE_CHECKING:
    from sqlalchemy import Engine

EMBEDDINGS = "crewyard_runtime.memory.embeddings"
# Each, and what a run of it imports: preloaded, so that a run does not wait for it.
BACKENDS = {
    "pgvector": ("crewyard_runtime.memory.pgvector", [EMBEDDINGS, "crewyard_runtime.memory.pgvector_store"]),
    "qdrant": ("crewyard_runtime.memory.qdrant", [EMBEDDINGS, "crewyard_runtime.memory.qdrant"]),
    "mem0-cloud": ("crewyard_runtime.memory.mem0_cloud", [EMBEDDINGS, "crewyard_runtime.memory.mem0_cloud"]),
    "volume": ("crewyard_runtime.frameworks.crewai_volume", [EMBEDDINGS, "crewai.memory.types", "lance_namespace"]),
}


class Backend(Protocol):
    """What a back end's module gives. owner: of the project's database, for the back end that is in it."""

    def open_store(self, settings: RuntimeSettings, user_id: str, token: str | None, embedder: Embedder) -> MemoryStore:
        """The store of one user. token: the second lock's, where there is one. May raise anything."""

    def problems(self, settings: RuntimeSettings) -> list[str]:
        """What stands open or does not fit, one sentence each with what to do. Raises what its client raises."""

    def prune(self, settings: RuntimeSettings, owner: "Engine | None", days: float) -> int:
        """Delete what was remembered longer ago; returns how much."""

    def reindex(self, settings: RuntimeSettings, owner: "Engine | None", embedder: Embedder) -> int:
        """Embed everything anew, going on where an earlier call was ended; returns how much. Raises NotPossible."""


class NotPossible(Exception):
    """The back end does this by itself, or not at all; the message says which."""


def load_backend(settings: RuntimeSettings) -> Backend:
    """Import the module of the back end that is chosen, and by it its library. Raises KeyError for "none"."""
    # Mem0 reports to its makers and writes into the home directory, unless told otherwise before its import.
    os.environ.setdefault("MEM0_TELEMETRY", "False")
    os.environ.setdefault("MEM0_DIR", str(settings.writable_dir / "mem0"))
    module: Any = import_module(BACKENDS[settings.memory][0])
    return module  # type: ignore[no-any-return]


def held_by_worker(settings: RuntimeSettings) -> AbstractContextManager[None]:
    """What keeps all other workers out, for a memory that takes one alone. Raises NotPossible."""
    if settings.memory != "volume" or settings.memory_dir is None:
        return nullcontext()
    module: Any = load_backend(settings)
    held: AbstractContextManager[None] = module.only_worker(settings.memory_dir)
    return held
