"""Two crews at once, and a third one after them."""

import asyncio
from collections.abc import Callable

from crewai import Agent, Crew, CrewOutput, Flow, Task
from crewai.flow import listen, start
from crewai.tools import BaseTool
from crewyard_runtime import ApplicationSettings, RunContext
from pydantic import BaseModel

from .application import Comparison, Question
from .tools import LookUpSources, Models, make_counter


class State(BaseModel):
    """What the steps know."""

    first: str = ""
    second: str = ""
    question: str = ""
    sides: list[str] = []


class CompareFlow(Flow[State]):
    """One comparison."""

    make_crew: Callable[[str], Crew]

    @start()
    async def look_at_both(self) -> list[str]:
        """At the same time."""
        outputs = await asyncio.gather(
            *(
                self.make_crew("advocate").kickoff_async(inputs={"subject": subject, "question": self.state.question})
                for subject in (self.state.first, self.state.second)
            )
        )
        sides = [str(output) for output in outputs]
        self.state.sides = sides
        return sides

    @listen(look_at_both)
    async def rest(self) -> None:
        """Wait without holding up the loop."""
        await asyncio.sleep(0.01)
        await asyncio.to_thread(sorted, self.state.sides)

    @listen(rest)
    async def decide(self) -> Comparison:
        """By CrewAI's own asynchronous way."""
        inputs = {"subject": " and ".join(self.state.sides), "question": self.state.question}
        output = await self.make_crew("judge").akickoff(inputs=inputs)
        assert isinstance(output, CrewOutput)
        return Comparison(sides=self.state.sides, verdict=output.raw)


def build_crew(run: RunContext[ApplicationSettings, Question]) -> CompareFlow:
    """The flow makes its crews for itself, each from this run."""

    def make_crew(role: str) -> Crew:
        llm = run.llm("fast")
        tools: list[BaseTool] = [LookUpSources(), Models(base_url=str(llm.base_url)), make_counter()]
        agent = Agent(
            role=role,
            goal="Say what speaks for {subject}",
            backstory="You are fair.",
            llm=llm,
            tools=tools,
            max_iter=run.limits.max_iter,
        )
        task = Task(description="{question} Speak for: {subject}", expected_output="A paragraph.", agent=agent)
        return Crew(agents=[agent], tasks=[task])

    return CompareFlow(make_crew=make_crew)
