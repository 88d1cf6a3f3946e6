"""What every sandbox takes and gives: a text of code, and how it ended."""

from typing import Protocol

from pydantic import BaseModel

KILLED = 137  # as a shell tells it: 128 and the number of SIGKILL
UNKNOWN = 2  # as commands say that they were called wrongly
SHELLS = ("sh", "bash", "shell")
OVER = "The run is over, and executes no more code."


class Execution(BaseModel):
    """How code ended: its exit code (137 if it was killed), and what it wrote to stdout and stderr, in its order.

    output: at most 20,000 characters; of more, the beginning and the end. Notes of the sandbox stand in square
    brackets.
    timed_out: whether it was killed because it took too long.
    """

    exit_code: int
    output: str
    timed_out: bool = False


class NoSandbox(LookupError):
    """This project executes no code; the message says which setting changes that."""


class SandboxDown(Exception):
    """Code cannot be executed now, and is not executed elsewhere; the message says why."""


class Sandbox(Protocol):
    """Executes the code of one run, one text after the other; its executions share their files."""

    def execute(self, code: str, language: str = "python") -> Execution:
        """Execute code and tell how it ended. Safe to call from several threads. Raises NoSandbox and SandboxDown."""

    def close(self) -> None:
        """End what is still executed, and what it left behind. Raises nothing."""


def unknown_language(language: str) -> Execution | None:
    """The answer to code in a language that no sandbox executes; None for one that all do."""
    if language in ("python", *SHELLS):
        return None
    known = ", ".join(("python", *SHELLS))
    return Execution(exit_code=UNKNOWN, output=f"[Code in {language!r} is not executed here; there is {known}.]")


def source(code: str) -> bytes:
    """The code as a file holds it. Half a character (a lone surrogate), which a model may write, becomes "?"."""
    return code.encode("utf-8", "replace")


def with_note(output: str, note: str) -> str:
    """The output, and the note on a line of its own after it."""
    return "\n".join(filter(None, [output.removesuffix("\n"), f"[{note}]"]))
