"""A translator and a proof-reader, on the team's own client."""

from crewai import Agent, Crew, Task
from crewyard_runtime import ApplicationSettings, RunContext

from .application import Text, Translation
from .llm import OurGateway


def build_crew(run: RunContext[ApplicationSettings, Text]) -> Crew:
    """Each agent has a client of its own."""
    translator = Agent(
        role="Translator",
        goal="Translate into {language}",
        backstory="You have lived in five countries.",
        llm=OurGateway.like(run.llm("fast")),
        max_iter=run.limits.max_iter,
    )
    reader = Agent(
        role="Proof-reader",
        goal="Leave no mistake",
        backstory="You read everything twice.",
        llm=OurGateway.like(run.llm("strong")),
        max_iter=run.limits.max_iter,
    )
    translate = Task(description="Translate into {language}: {text}", expected_output="The text.", agent=translator)
    read = Task(
        description="Correct the translation of: {text}",
        expected_output="The text without mistakes.",
        agent=reader,
        output_pydantic=Translation,
    )
    return Crew(agents=[translator, reader], tasks=[translate, read])
