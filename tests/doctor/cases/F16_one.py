"""One agent may delegate, and a value of other objects is not delegation."""

from crewai import Agent, Crew, Process


class Options:
    def __init__(self, allow_delegation: bool) -> None:
        self.allow = allow_delegation


def crew() -> Crew:
    manager = Agent(role="m", goal="g", backstory="b", allow_delegation=True)
    Options(allow_delegation=True)
    return Crew(agents=[], tasks=[], manager_agent=manager, process=Process.hierarchical)
