"""Applications whose build function returns a function that executes code, as an agent's tool would."""

from collections.abc import Callable
from typing import Any

from crewyard_runtime import Application, RunContext
from pydantic import RootModel


class Code(RootModel[str]):
    """Code in Python."""


class Answer(RootModel[dict[str, Any]]):
    """How it ended."""


def build(run: RunContext[Any, Code]) -> Callable[[], dict[str, Any]]:
    """Execute the run's input."""
    return lambda: run.execute(run.input.root).model_dump()


def build_failing(run: RunContext[Any, Code]) -> Callable[[], dict[str, Any]]:
    """Execute the run's input, and fail."""

    def fail() -> dict[str, Any]:
        msg = f"after {run.execute(run.input.root).output}"
        raise ValueError(msg)

    return fail


coding = Application(name="coding", input=Code, output=Answer, build="runtime.coding:build")
failing = Application(name="failing", input=Code, output=Answer, build="runtime.coding:build_failing")
