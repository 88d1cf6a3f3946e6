"""What the misbehaving teams of every framework share: their input, their output, what their tool does."""

import time

import httpx
from crewyard_runtime import RunContext
from pydantic import BaseModel, RootModel

LONG = 10_000_000  # characters of a tool's result
CODE = "Run this:\n```python\nprint(40 + 2)\n```"
TRIES = {"flaky": 0}


class Order(BaseModel):
    """What the run is to do, and a text for the prompt."""

    mode: str = "work"
    text: str = "a text"


class Answer(RootModel[str]):
    """Any text."""


class TypedAnswer(BaseModel):
    """What an agent is asked to answer in."""

    title: str
    good: bool


def act(mode: str) -> str:
    """What a tool does in a mode."""
    match mode:
        case "sleep":
            time.sleep(1_000)
        case "fail":
            msg = "the tool's own words"
            raise ValueError(msg)
        case "long":
            return "x" * LONG
        case "flaky":
            TRIES["flaky"] += 1
            if TRIES["flaky"] < 3:
                msg = "not yet"
                raise httpx.ConnectError(msg)
        case "current":
            return RunContext.current().id
    return "done"
