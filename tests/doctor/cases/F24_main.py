"""A script that calls a function of its own; token_usage is counted."""

from crewai import Agent, Crew

writer = Agent(role="w", goal="g", backstory="b")  # hints F01


def trial() -> None:
    Crew(agents=[writer], tasks=[]).kickoff()


trial()  # hints F24
