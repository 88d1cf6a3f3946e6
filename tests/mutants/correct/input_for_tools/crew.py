"""One agent, whose tool knows the order, so that no prompt needs to tell it."""

from crewai import Agent, Crew, Task
from crewai.tools import BaseTool
from crewyard_runtime import ApplicationSettings, RunContext

from .application import Order, Status


class LoadOrder(BaseTool):
    """Loads this run's order and no other: the model cannot ask for another one."""

    name: str = "load_order"
    description: str = "Load the order that this is about."
    key: str

    def _run(self) -> str:
        return f"An order with a key of {len(self.key)} signs, on its way since Monday."


def build_crew(run: RunContext[ApplicationSettings, Order]) -> Crew:
    """The key goes to the tool alone."""
    clerk = Agent(
        role="Clerk",
        goal="Say where an order is",
        backstory="You know the warehouse.",
        llm=run.llm("fast"),
        tools=[LoadOrder(key=run.input.key)],
        max_iter=run.limits.max_iter,
    )
    task = Task(
        description="Load the order of {pieces} pieces and say where it is.",
        expected_output="Where it is, and whether it is late.",
        agent=clerk,
        output_pydantic=Status,
    )
    return Crew(agents=[clerk], tasks=[task])
