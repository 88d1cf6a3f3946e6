"""Crews that misbehave in the way their input asks for; the tests of execution run them."""

import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

from crewai import Agent, Crew, Task
from crewai.tools import BaseTool
from crewyard_runtime import Application, ApplicationSettings, RunContext
from pydantic import BaseModel, RootModel

ESCAPED = "86399"  # seconds, by which a test finds the subprocess of a tool again


class Order(BaseModel):
    """What the run is to do, and a text for the prompt."""

    mode: str = "work"
    text: str = "a text"


class Answer(RootModel[str]):
    """Any text."""


class Strict(BaseModel):
    """What no text of a model satisfies."""

    number: int


class Misbehaving(BaseTool):
    """A tool that does what its mode says."""

    name: str = "do_it"
    description: str = "Does it."
    mode: str

    def _run(self, what: str) -> str:
        actions: dict[str, Any] = {
            "sleep": self._sleep,
            "die": lambda: os.kill(os.getpid(), signal.SIGKILL),
            "fail": self._fail,
            "environment": lambda: " ".join(sorted(os.environ)),
            "write": lambda: str(Path("note.txt").write_text("x")),
            "place": lambda: f"{Path.cwd()} {os.environ['TMPDIR']}",
            "ask": input,
            "long": lambda: "x" * 10_000_000,
        }
        return str(actions.get(self.mode, lambda: "done")())

    def _sleep(self) -> None:
        subprocess.Popen(["sleep", ESCAPED], start_new_session=True)
        while True:
            time.sleep(1_000)

    def _fail(self) -> None:
        try:
            raise KeyError("customer 7")
        except KeyError as error:
            raise ValueError("the CRM knows no such customer") from error


class Telling(Misbehaving):
    """A tool that reports its result as an event, for the test to see."""

    def _run(self, what: str) -> str:
        result = super()._run(what)
        RunContext.current().emit("seen", text=result[:1_000])
        return result


def build(run: RunContext[ApplicationSettings, Order]) -> Crew:
    """A crew of one agent (two, where they delegate) with one tool."""
    mode = run.input.mode
    agent = _agent(run, "Worker", mode, tools=[run.code_executor() if mode == "code" else Telling(mode=mode)])
    others = [_agent(run, "Helper", mode)] if mode == "delegate" else []
    task = Task(
        description="{text}",
        expected_output="A text.",
        agent=agent,
        human_input=mode == "human",
        guardrail_max_retries=9 if mode == "guardrails" else 3,
    )
    return Crew(agents=[agent, *others], tasks=[task])


def _agent(run: RunContext, role: str, mode: str, tools: list[BaseTool] | None = None) -> Agent:
    limits: dict[str, Any] = {} if mode == "no max_iter" else {"max_iter": run.limits.max_iter}
    llm: Any = "openai/gpt-4o" if mode == "no time limit" else run.llm("fast")
    return Agent(
        role=role, goal="g", backstory="b", llm=llm, tools=tools or [], allow_delegation=mode == "delegate", **limits
    )


def build_nothing(run: RunContext) -> Any:
    """Neither a crew nor a flow."""
    return {"not": "a crew"}


def build_badly(run: RunContext) -> Crew:
    """Fails while it builds."""
    raise LookupError("config/agents.yaml has no writer")


def start_thread() -> None:
    """What a module must not do at import."""
    threading.Thread(target=threading.Event().wait, name="left-over", daemon=True).start()


works = Application(name="works", input=Order, output=Answer, build="runtime.crews:build")
strict = Application(name="strict", input=Order, output=Strict, build="runtime.crews:build")
nothing = Application(name="nothing", input=Order, output=Answer, build="runtime.crews:build_nothing")
badly = Application(name="badly", input=Order, output=Answer, build="runtime.crews:build_badly")


def build_with_memory(run: RunContext[ApplicationSettings, Order]) -> Crew:
    """With the memory that CrewAI keeps on the disk."""
    agent = _agent(run, "Worker", "work")
    return Crew(agents=[agent], tasks=[Task(description="{text}", expected_output="x", agent=agent)], memory=True)


def build_with_planning(run: RunContext[ApplicationSettings, Order]) -> Crew:
    """With a plan made first, by a model of the run or of CrewAI's choice."""
    agent = _agent(run, "Worker", "work")
    task = Task(description="{text}", expected_output="x", agent=agent)
    llm = None if run.input.mode == "no planning_llm" else run.llm("fast")
    return Crew(agents=[agent], tasks=[task], planning=True, planning_llm=llm)


memory = Application(name="memory", input=Order, output=Answer, build="runtime.crews:build_with_memory")
planning = Application(name="planning", input=Order, output=Answer, build="runtime.crews:build_with_planning")
