"""A user's proxy and two agents; the manager's model chooses who speaks."""

from typing import Any

from autogen import AssistantAgent, GroupChat, GroupChatManager, UserProxyAgent
from crewyard_runtime import RunContext

from .models import Question


def build_team(run: RunContext[Any, Question]) -> GroupChatManager:
    """All of it for one run."""
    user = UserProxyAgent("user", human_input_mode="NEVER", code_execution_config=False, default_auto_reply="Go on.")
    planner = AssistantAgent("planner", llm_config=run.llm("fast"), description="Plans.")
    writer = AssistantAgent("writer", llm_config=run.llm("strong"), description="Writes.")
    chat = GroupChat([user, planner, writer], max_round=5)
    return GroupChatManager(chat, llm_config=run.llm("fast"))
