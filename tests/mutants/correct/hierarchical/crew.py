"""A manager agent of our own, with two agents under it."""

from crewai import Agent, Crew, Process, Task
from crewyard_runtime import ApplicationSettings, RunContext

from .application import Plan, Project


def build_crew(run: RunContext[ApplicationSettings, Project]) -> Crew:
    """The tasks name no agent: the manager chooses."""
    manager = Agent(
        role="Project manager",
        goal="Deliver a plan for {project} that the customer signs",
        backstory="You coordinate, and you check what comes back.",
        llm=run.llm("strong"),
        max_iter=run.limits.max_iter,
        allow_delegation=True,
    )
    analyst = Agent(
        role="Business analyst",
        goal="Understand the needs of the {industry} industry",
        backstory="You have interviewed hundreds of customers.",
        llm=run.llm("fast"),
        max_iter=run.limits.max_iter,
    )
    planner = Agent(
        role="Planner",
        goal="Break work into milestones",
        backstory="You have never missed a date.",
        llm=run.llm("fast"),
        max_iter=run.limits.max_iter,
    )
    needs = Task(
        description="List what a company in {industry} needs of this project: {project}",
        expected_output="A list of needs.",
    )
    plan = Task(
        description="Plan the project in {weeks} weeks: {project}",
        expected_output="A summary and the milestones.",
        output_pydantic=Plan,
    )
    return Crew(
        agents=[analyst, planner],
        tasks=[needs, plan],
        process=Process.hierarchical,
        manager_agent=manager,
    )
