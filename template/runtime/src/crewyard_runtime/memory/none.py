"""The memory of a project that keeps none, and of a run that is nobody's: it knows nothing."""

from collections.abc import Callable

from crewyard_runtime.memory.records import Remembered


class NoMemory:
    """Has the calls of every memory, so that code written for one runs without."""

    def remember(self, text: str) -> str | None:
        """Keep nothing."""
        return None

    def recall(self, query: str, limit: int = 5) -> list[Remembered]:
        """Know nothing."""
        return []

    def recalling(self, query: str, limit: int = 5) -> Callable[[], list[Remembered]]:
        """Know nothing, later."""
        return list

    def forget(self, id: str) -> bool:
        """Have nothing to forget."""
        return False

    def all(self) -> list[Remembered]:
        """Hold nothing."""
        return []
