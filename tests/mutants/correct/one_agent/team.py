"""An agent that calls a tool of each kind, and answers in a type."""

import asyncio
from typing import Any

from agent_framework import Agent
from crewyard_runtime import RunContext

from .models import Answer, Question


async def look_up(words: str) -> str:
    """Look words up."""
    await asyncio.sleep(0.01)
    return f"All about {words}."


def build_team(run: RunContext[Any, Question]) -> Agent:
    """The agent, for one run."""
    return Agent(
        run.llm("strong"),
        f"Answer in {run.input.language}.",
        name="assistant",
        tools=[look_up],
        default_options={"response_format": Answer},
    )
