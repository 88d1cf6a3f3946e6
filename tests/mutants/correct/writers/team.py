"""One writes, one criticizes, a few times; the writer's last text is the result."""

from collections.abc import Awaitable, Callable
from typing import Any

from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.teams import RoundRobinGroupChat
from crewyard_runtime import RunContext

from .models import Text, Topic


def build_team(run: RunContext[Any, Topic]) -> Callable[[], Awaitable[Text]]:
    """A function that has the team write."""
    writer = AssistantAgent("writer", model_client=run.llm("strong"), model_client_stream=True)
    critic = AssistantAgent("critic", model_client=run.llm("fast"), model_client_stream=True)
    team = RoundRobinGroupChat([writer, critic], max_turns=3)

    async def write() -> Text:
        result = await team.run(task=f"Write about {run.input.title} for {run.input.audience}.")
        return Text(next(each.to_text() for each in reversed(result.messages) if each.source == "writer"))

    return write
