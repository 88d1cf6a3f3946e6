"""The flow: two looks at a lead at the same time, then a call or a mail, then the record."""

from typing import Any, Literal

from crewai import Agent, Crew, CrewOutput, Flow, Task
from crewai.flow.flow import and_, listen, or_, router, start
from crewyard_runtime import ApplicationSettings, RunContext
from pydantic import BaseModel

from .application import Handled, Lead


class LeadState(BaseModel):
    """What the steps know."""

    name: str = ""
    message: str = ""
    employees: int = 1
    score: int = 0
    intent: str = ""
    background: str = ""
    text: str = ""
    way: Literal["call", "mail"] = "mail"
    notes: list[str] = []


class Score(BaseModel):
    """How good the lead is."""

    score: int
    reason: str


class LeadFlow(Flow[LeadState]):
    """One lead."""

    scorers: Crew
    assistant: Agent

    @start()
    def score(self) -> int:
        """By a crew."""
        output = self.scorers.kickoff(inputs=self.state.model_dump(include={"name", "message", "employees"}))
        assert isinstance(output, CrewOutput)
        score = Score.model_validate(output.pydantic).score
        self.state.score = score
        return score

    @listen(score)
    def find_intent(self) -> str:
        """By an agent without a crew."""
        intent = str(self.assistant.kickoff(f"What does this person want? {self.state.message}"))
        self.state.intent = intent
        return intent

    @listen(score)
    def find_background(self) -> None:
        """By plain code."""
        self.state.background = "enterprise" if self.state.employees > 100 else "small"

    @router(and_(find_intent, find_background))
    def choose(self) -> str:
        """Where both are known."""
        return "call" if self.state.background == "enterprise" else "mail"

    @listen("call")
    def prepare_call(self) -> str:
        """Notes for a person."""
        self.state.way = "call"
        text = f"Call {self.state.name}: {self.state.intent}"
        self.state.text = text
        return text

    @listen("mail")
    def write_mail(self) -> dict[str, Any]:
        """By the same agent."""
        self.state.text = str(self.assistant.kickoff(f"Write a short mail to {self.state.name}: {self.state.message}"))
        return {"to": self.state.name, "text": self.state.text}

    @listen(or_(prepare_call, write_mail))
    def record(self) -> Handled:
        """Whatever was done."""
        self.state.notes = [*self.state.notes, f"scored {self.state.score}"]
        return Handled(way=self.state.way, text=self.state.text, notes=self.state.notes)


def build_crew(run: RunContext[ApplicationSettings, Lead]) -> LeadFlow:
    """The flow with its crew and its agent."""
    scorer = Agent(
        role="Lead scorer",
        goal="Score leads from 0 to 100",
        backstory="You know who buys.",
        llm=run.llm("fast"),
        max_iter=run.limits.max_iter,
    )
    score = Task(
        description="Score this lead of {name} ({employees} employees): {message}",
        expected_output="A score and its reason.",
        agent=scorer,
        output_pydantic=Score,
    )
    assistant = Agent(
        role="Sales assistant",
        goal="Write what a salesperson would write",
        backstory="You are brief and friendly.",
        llm=run.llm("strong"),
        max_iter=run.limits.max_iter,
    )
    return LeadFlow(scorers=Crew(agents=[scorer], tasks=[score]), assistant=assistant)
