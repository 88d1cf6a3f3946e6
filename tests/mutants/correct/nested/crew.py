"""A scout and a planner who fill in a schema."""

from crewai import Agent, Crew, Task
from crewyard_runtime import ApplicationSettings, RunContext
from pydantic import BaseModel

from .application import Itinerary, Journey, Mood


class Place(BaseModel):
    """Somewhere to go."""

    name: str
    mood: Mood
    near: list["Place"] = []


class Places(BaseModel):
    """What the scout found."""

    places: list[Place]


def build_crew(run: RunContext[ApplicationSettings, Journey]) -> Crew:
    """The input reaches the prompts as text."""
    scout = Agent(
        role="Scout",
        goal="Know places",
        backstory="You have been everywhere.",
        llm=run.llm("fast"),
        max_iter=run.limits.max_iter,
    )
    planner = Agent(
        role="Planner",
        goal="Plan days that people enjoy",
        backstory="You never forget a connection.",
        llm=run.llm("strong"),
        max_iter=run.limits.max_iter,
    )
    find = Task(
        name="find",
        description="Find {mood} places for {travellers} who wish {wishes}.",
        expected_output="Places, and what is near them.",
        agent=scout,
        output_pydantic=Places,
    )
    plan = Task(
        name="plan",
        description="Plan the journey of {travellers} for {budget} euros. They leave at {departs}.",
        expected_output="The itinerary, day by day.",
        agent=planner,
        context=[find],
        output_pydantic=Itinerary,
    )
    return Crew(agents=[scout, planner], tasks=[find, plan])
