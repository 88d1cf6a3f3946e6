"""A team that a function hands out is made once, where it stands; models_usage is counted."""

from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.conditions import MaxMessageTermination
from autogen_agentchat.teams import RoundRobinGroupChat
from services import place_order, price

seller = AssistantAgent("seller", model_client=None, tools=[place_order, price])  # finds F01


def get_seller() -> AssistantAgent:
    return seller


def make_limit() -> MaxMessageTermination:
    return MaxMessageTermination(10)


first = get_seller()
team = RoundRobinGroupChat([first], termination_condition=make_limit())  # finds F01


def get_team() -> RoundRobinGroupChat:
    return team


def build_team() -> RoundRobinGroupChat:
    own = AssistantAgent("seller", model_client=None)
    return RoundRobinGroupChat([own], max_turns=3)
