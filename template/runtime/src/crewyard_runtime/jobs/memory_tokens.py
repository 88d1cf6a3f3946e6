"""The tokens by which runs open their users' memories, for whoever starts runs: a run cannot make one."""

import logging

from crewyard_runtime.errors import error_line
from crewyard_runtime.memory.access import TokenKey, token_key
from crewyard_runtime.memory.backends import load_backend
from crewyard_runtime.memory.records import safe_user_id
from crewyard_runtime.settings import RuntimeSettings
from crewyard_runtime.store import Database

SLACK_SECONDS = 60  # beyond the deadline of a run

log = logging.getLogger("crewyard.memory")


class MemoryTokens:
    """Signs a token for each run, once it was seen that the second lock holds. database: with its owner's rights."""

    def __init__(self, database: Database, settings: RuntimeSettings) -> None:
        self._database = database
        self._settings = settings
        self._key: TokenKey | None = None

    def sign(self, user_id: str | None) -> str | None:
        """A token for a run of this user; None where the memory needs none, or the lock is not known to hold.

        Raises ValueError for an id outside of the safe alphabet.
        """
        if self._settings.memory != "pgvector" or user_id is None:
            return None
        safe_user_id(user_id)
        try:
            key = self._key = self._key or self._checked_key()
        except Exception as error:  # of whatever kind: no run ends because of its memory
            log.warning("a run goes on without its memory, whose lock cannot be checked: %s", error_line(error))
            return None
        return key.sign(user_id, self._settings.limits.deadline_seconds + SLACK_SECONDS) if key else None

    def _checked_key(self) -> TokenKey | None:
        problems = load_backend(self._settings).problems(self._settings)
        for problem in problems:
            log.error("a run goes on without its memory: %s", problem)
        if problems:
            return None
        with self._database.transaction() as tx:
            return token_key(tx)
