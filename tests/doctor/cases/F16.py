"""Delegation in one file."""

from crewai import Agent


def two() -> list[Agent]:
    return [
        Agent(role="a", goal="g", backstory="b", allow_delegation=True),  # finds F16
        Agent(role="b", goal="g", backstory="b", allow_delegation=True),  # finds F16
        Agent(role="c", goal="g", backstory="b", allow_delegation=False),
        Agent(role="d", goal="g", backstory="b"),
    ]
