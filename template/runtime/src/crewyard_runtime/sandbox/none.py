"""The sandbox of a project that executes no code."""

from typing import NoReturn

from crewyard_runtime.sandbox.execution import NoSandbox


class NoCode:
    """Has the calls of every sandbox, and executes nothing."""

    def execute(self, code: str, language: str = "python") -> NoReturn:
        """Raise NoSandbox."""
        msg = (
            "This project executes no code: set CODE_EXECUTION=docker and DOCKER_HOST, "
            "or on a laptop CODE_EXECUTION=local."
        )
        raise NoSandbox(msg)

    def close(self) -> None:
        """Have nothing to end."""
