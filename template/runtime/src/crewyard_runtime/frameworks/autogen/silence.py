"""What stands in for the terminal: a chat is not printed, because logs are read by others than its user."""

from typing import Any

from crewyard_runtime.errors import BuildRefused


class Silence:
    """An IOStream of AutoGen."""

    def print(self, *objects: Any, sep: str = " ", end: str = "\n", flush: bool = False) -> None:
        """Nothing."""

    def send(self, message: Any) -> None:
        """Nothing."""

    def input(self, prompt: str = "", *, password: bool = False) -> str:
        """Raises BuildRefused."""
        msg = 'An agent asks a human, and a run has no terminal: build it with human_input_mode="NEVER".'
        raise BuildRefused(msg)
