"""An engineer and a security reviewer, each with a tool, who may delegate to each other."""

from crewai import Agent, Crew, Process, Task
from crewai.tools import BaseTool
from crewyard_runtime import ApplicationSettings, RunContext

from .application import Change, Review


class StyleGuide(BaseTool):
    """Gives the rules."""

    name: str = "style_guide"
    description: str = "Read the rules about a subject in our style guide."

    def _run(self, subject: str) -> str:
        return "Names say what a thing is. A function does one thing."


def build_crew(run: RunContext[ApplicationSettings, Change]) -> Crew:
    """Both may ask the other."""
    engineer = Agent(
        role="Senior engineer",
        goal="Review {title}",
        backstory="You have seen every mistake.",
        llm=run.llm("strong"),
        tools=[StyleGuide()],
        max_iter=run.limits.max_iter,
        allow_delegation=True,
    )
    security = Agent(
        role="Security reviewer",
        goal="Find holes in {title}",
        backstory="You think like a thief.",
        llm=run.llm("fast"),
        max_iter=run.limits.max_iter,
        allow_delegation=True,
    )
    look = Task(description="Look for holes in this change: {diff}", expected_output="A list.", agent=security)
    review = Task(
        description="Review this change, {title}: {diff}",
        expected_output="Whether it is approved, and comments.",
        agent=engineer,
        output_pydantic=Review,
    )
    return Crew(agents=[engineer, security], tasks=[look, review], process=Process.sequential)
