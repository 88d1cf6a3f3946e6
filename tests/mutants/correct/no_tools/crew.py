"""One agent with one task."""

from crewai import Agent, Crew, Task
from crewyard_runtime import ApplicationSettings, RunContext

from .application import Sample


def build_crew(run: RunContext[ApplicationSettings, Sample]) -> Crew:
    """The smallest crew."""
    statistician = Agent(
        role="Statistician",
        goal="Explain numbers to people",
        backstory="You teach.",
        llm=run.llm("fast"),
        max_iter=run.limits.max_iter,
    )
    explain = Task(
        description="Which of the measurements {values} are above {threshold}, and what does that mean?",
        expected_output="Two sentences.",
        agent=statistician,
    )
    return Crew(agents=[statistician], tasks=[explain])
