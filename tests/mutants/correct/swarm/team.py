"""The desk hands over to the expert, who looks things up and answers."""

from typing import Any

from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.conditions import TextMentionTermination
from autogen_agentchat.teams import Swarm
from crewyard_runtime import RunContext

from .models import Question


async def look_up(words: str) -> str:
    """Look words up."""
    return f"All about {words}."


def build_team(run: RunContext[Any, Question]) -> Swarm:
    """Both for one run."""
    desk = AssistantAgent("desk", model_client=run.llm("fast"), handoffs=["expert"], system_message="Hand over.")
    expert = AssistantAgent(
        "expert",
        model_client=run.llm("strong"),
        tools=[look_up],
        reflect_on_tool_use=True,
        system_message="Answer, and say DONE.",
    )
    return Swarm([desk, expert], termination_condition=TextMentionTermination("DONE"), max_turns=4)
