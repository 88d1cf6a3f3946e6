"""The memory of a project that keeps none: it takes what it is given and knows nothing."""


class NoMemory:
    """Has the calls of every memory, so that code written for one runs without."""

    def remember(self, text: str) -> None:
        """Keep nothing."""

    def recall(self, query: str, limit: int = 5) -> list[str]:
        """Know nothing."""
        return []

    def forget(self, id: str) -> None:
        """Have nothing to forget."""

    def all(self) -> list[str]:
        """Hold nothing."""
        return []
