"""The delegation guard of one run: agents that hand work to and fro are stopped."""

import threading


class DelegationGuard:
    """Counts delegations between the same two agents, in either direction, with none to another agent in between."""

    def __init__(self, allowed_in_a_row: int) -> None:
        self._allowed = allowed_in_a_row
        self._lock = threading.Lock()
        self._pair: frozenset[str] = frozenset()
        self._count = 0

    def reset(self) -> None:
        """Start to count anew: another task of the crew begins."""
        with self._lock:
            self._pair, self._count = frozenset(), 0

    def record(self, sender: str, receiver: str) -> str | None:
        """Count one delegation; the sentence that ends the run if it is one too many, else None."""
        pair = frozenset(name.strip(" \t\n\"'").casefold() for name in (sender, receiver))
        with self._lock:
            self._count = self._count + 1 if pair == self._pair else 1
            self._pair = pair
            if self._count <= self._allowed:
                return None
            return (
                f"{sender} and {receiver} delegated to each other {self._count} times in a row "
                f"(the limit delegations_in_a_row is {self._allowed}): give them roles that do not overlap."
            )
