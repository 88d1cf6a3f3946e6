"""Two analysts under a manager of CrewAI's own making."""

from crewai import Agent, Crew, Process, Task
from crewyard_runtime import ApplicationSettings, RunContext
from pydantic import BaseModel

from .application import Company


class Verdict(BaseModel):
    """The manager's answer."""

    verdict: str
    confident: bool


def build_crew(run: RunContext[ApplicationSettings, Company]) -> Crew:
    """The manager's model is the strong one."""
    financial = Agent(
        role="Financial analyst",
        goal="Read the balance sheet of {company}",
        backstory="Numbers tell you stories.",
        llm=run.llm("fast"),
        max_iter=run.limits.max_iter,
    )
    market = Agent(
        role="Market analyst",
        goal="Know the competitors of {company}",
        backstory="You read three newspapers before breakfast.",
        llm=run.llm("fast"),
        max_iter=run.limits.max_iter,
    )
    analyse = Task(
        description="Analyse {company}. {question}",
        expected_output="An analysis in three paragraphs.",
        agent=financial,
    )
    decide = Task(
        description="Decide for {company}: {question}",
        expected_output="A verdict, and whether you are confident.",
        output_json=Verdict,
    )
    return Crew(
        agents=[financial, market],
        tasks=[analyse, decide],
        process=Process.hierarchical,
        manager_llm=run.llm("strong"),
    )
