"""From the settings to the memory of one run."""

from collections.abc import Callable

from crewyard_runtime.memory.backends import load_backend
from crewyard_runtime.memory.no_secrets import may_remember
from crewyard_runtime.memory.none import NoMemory
from crewyard_runtime.memory.records import Memory, MemoryStore, safe_user_id
from crewyard_runtime.memory.user_memory import Report, UserMemory
from crewyard_runtime.settings import RuntimeSettings


def open_memory(
    settings: RuntimeSettings,
    user_id: str | None,
    token: str | None,
    report: Report,
    may_keep: Callable[[str], bool] | None = None,
) -> Memory:
    """The memory of a run; of a run that is nobody's, or whose token is wanting, one that knows nothing."""
    if settings.memory == "none" or user_id is None:
        return NoMemory()
    if settings.memory == "pgvector" and token is None:
        reason = "who started the run gave it no token: it has seen that the memory is not locked, or could not look"
        report("memory.failed", {"operation": "open", "reason": reason})
        return NoMemory()
    return UserMemory(
        user_id,
        lambda: open_store(settings, user_id, token),
        report,
        recall_seconds=settings.limits.recall_seconds,
        remember_seconds=settings.limits.remember_seconds,
        may_remember=may_keep or may_remember,
    )


def open_store(settings: RuntimeSettings, user_id: str, token: str | None) -> MemoryStore:
    """The store of one user. Raises ValueError for an id outside of the safe alphabet, and what its back end raises."""
    # Imported here: gateways load this module, and have no use for an HTTP client.
    from crewyard_runtime.memory.embeddings import HttpEmbedder

    return load_backend(settings).open_store(settings, safe_user_id(user_id), token, HttpEmbedder(settings))
