"""The classical class, made for one run with the run's models."""

from typing import Any

from crewai import Agent, Crew, Process, Task
from crewai.agents.agent_builder.base_agent import BaseAgent
from crewai.project import CrewBase, after_kickoff, agent, before_kickoff, crew, task
from crewyard_runtime import ApplicationSettings, RunContext

from .application import Inputs, Report


@CrewBase
class ReportingCrew:
    """Two agents, two tasks."""

    agents: list[BaseAgent]
    tasks: list[Task]
    agents_config: Any = "config/agents.yaml"
    tasks_config: Any = "config/tasks.yaml"

    def __init__(self, run: RunContext[ApplicationSettings, Inputs]) -> None:
        self.run = run

    @before_kickoff
    def prepare(self, inputs: dict[str, Any] | None) -> dict[str, Any] | None:
        """See the inputs before they are used."""
        self.run.log.info("inputs: %s", sorted(inputs or {}))
        return inputs

    @after_kickoff
    def finish(self, output: Any) -> Any:
        """See the output before it is given back."""
        self.run.emit("reported", length=len(str(output)))
        return output

    @agent
    def researcher(self) -> Agent:
        """With the fast model."""
        return Agent(
            config=self.agents_config["researcher"],
            llm=self.run.llm("fast"),
            max_iter=self.run.limits.max_iter,
            verbose=True,
        )

    @agent
    def reporting_analyst(self) -> Agent:
        """With the strong one."""
        return Agent(
            config=self.agents_config["reporting_analyst"],
            llm=self.run.llm("strong"),
            max_iter=self.run.limits.max_iter,
            verbose=True,
        )

    @task
    def research_task(self) -> Task:
        """The first."""
        return Task(config=self.tasks_config["research_task"])  # type: ignore[call-arg]

    @task
    def reporting_task(self) -> Task:
        """The last."""
        return Task(config=self.tasks_config["reporting_task"], output_pydantic=Report)  # type: ignore[call-arg]

    @crew
    def crew(self) -> Crew:
        """Both."""
        return Crew(agents=self.agents, tasks=self.tasks, process=Process.sequential, verbose=True)


def build_crew(run: RunContext[ApplicationSettings, Inputs]) -> Crew:
    """An instance of the class for each run."""
    made: Crew = ReportingCrew(run).crew()
    return made
