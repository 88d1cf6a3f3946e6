"""Nobody counts."""

from crewai import Crew


def run() -> object:
    return Crew(agents=[], tasks=[]).kickoff()  # hints F26


def again() -> object:
    return Crew(agents=[], tasks=[]).kickoff()
