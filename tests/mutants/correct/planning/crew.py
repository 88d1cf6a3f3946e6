"""A crew that plans first, tells how far it is, and checks what its agents write."""

import logging
from typing import Any

from crewai import Agent, Crew, Task, TaskOutput
from crewai.lite_agent_output import LiteAgentOutput
from crewai.tasks.conditional_task import ConditionalTask
from crewyard_runtime import ApplicationSettings, RunContext

from .application import Event, Invitation

log = logging.getLogger(__name__)


def is_not_empty(output: TaskOutput | LiteAgentOutput) -> tuple[bool, Any]:
    """A guardrail."""
    return (True, output.raw) if output.raw.strip() else (False, "Write something.")


def is_short(output: TaskOutput) -> bool:
    """Whether more is to be found."""
    return len(output.raw) < 10_000


def build_crew(run: RunContext[ApplicationSettings, Event]) -> Crew:
    """The callbacks close over the run."""

    def after_step(step: Any) -> None:
        run.log.info("step: %s", type(step).__name__)

    def after_task(output: TaskOutput) -> None:
        run.emit("task.written", agent=output.agent, characters=len(output.raw))
        log.info("a task is done")

    coordinator = Agent(
        role="Venue coordinator",
        goal="Find a venue in {city}",
        backstory="You know every hall.",
        llm=run.llm("fast"),
        max_iter=run.limits.max_iter,
        step_callback=after_step,
    )
    writer = Agent(
        role="Invitation writer",
        goal="Make people come",
        backstory="Nobody declines your invitations.",
        llm=run.llm("strong"),
        max_iter=run.limits.max_iter,
    )
    venue = Task(
        name="venue",
        description="Find a venue in {city} for {participants} people at {event}.",
        expected_output="The venue and its address.",
        agent=coordinator,
        guardrail=is_not_empty,
        guardrail_max_retries=run.limits.guardrail_retries,
        callback=after_task,
    )
    more = ConditionalTask(
        name="more",
        description="Find two more venues in {city}, in case that one is taken on the day of {event}.",
        expected_output="Two venues.",
        agent=coordinator,
        condition=is_short,
    )
    invite = Task(
        name="invite",
        description="Write the invitation to {event} in {city}.",
        expected_output="A subject and a body.",
        agent=writer,
        output_pydantic=Invitation,
        guardrails=[is_not_empty, "The invitation names the city and promises no free drinks."],
        guardrail_max_retries=run.limits.guardrail_retries,
    )
    return Crew(
        agents=[coordinator, writer],
        tasks=[venue, more, invite],
        planning=True,
        planning_llm=run.llm("fast"),
        step_callback=after_step,
        task_callback=after_task,
    )
