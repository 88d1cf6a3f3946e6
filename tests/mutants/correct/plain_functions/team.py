"""Two agents at once, then a third that is asked twice."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from agent_framework import Agent
from crewyard_runtime import RunContext

from .models import Report, Text


def build_team(run: RunContext[Any, Text]) -> Callable[[], Awaitable[Report]]:
    """A function that has them work."""
    checker = Agent(run.llm("fast"), "Find facts.", name="checker")
    listener = Agent(run.llm("fast"), "Hear the tone.", name="listener")
    editor = Agent(run.llm("strong"), "Summarize.", name="editor")

    async def report() -> Report:
        facts, tone = await asyncio.gather(checker.run(run.input.text), listener.run(run.input.text))
        session = editor.create_session()
        await editor.run(f"{run.input.text}\n{facts.text}\n{tone.text}", session=session)
        summary = await editor.run("Shorter, please.", session=session)
        return Report(facts=facts.text, tone=tone.text, summary=summary.text)

    return report
