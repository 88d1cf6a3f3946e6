"""What bounds a crew: which limits its agents and tasks lack."""

from collections.abc import Iterator
from typing import Any

from crewai import Crew
from crewai.agents.agent_builder.base_agent import BaseAgent

from crewyard_runtime.limits import RunLimits


def unlimited(crew: Crew, limits: RunLimits) -> Iterator[str]:
    """One sentence for each limit that an agent or task of the crew lacks or exceeds."""
    managers = [crew.manager_agent] if crew.manager_agent else []
    for agent in (*crew.agents, *managers):
        yield from unlimited_agent(agent, limits)
    for name in ("manager_llm", "planning_llm", "function_calling_llm"):
        yield from _unlimited_llm(f"The crew's {name}", getattr(crew, name, None), limits)
    learned = [crew.knowledge_sources, *(getattr(agent, "knowledge_sources", None) for agent in crew.agents)]
    if any(learned) and crew.embedder is None:
        yield (
            "The crew's knowledge_sources would be embedded by a client that finds no key in a run: give the crew an "
            "embedder with its key from run.settings."
        )
    if crew.planning and crew.planning_llm is None:
        yield 'The crew plans with a model of CrewAI\'s own choice: build it with planning_llm=run.llm("fast").'
    for task in crew.tasks:
        label = f"The task {task.name or task.description[:40]!r}"
        if task.human_input:
            yield f"{label} asks a human (human_input), and a run has no terminal: remove human_input."
        if task.guardrail_max_retries > limits.guardrail_retries:
            yield (
                f"{label} has guardrail_max_retries={task.guardrail_max_retries}, above the limit guardrail_retries="
                f"{limits.guardrail_retries}: build it with guardrail_max_retries=run.limits.guardrail_retries."
            )


def unlimited_agent(agent: BaseAgent, limits: RunLimits) -> Iterator[str]:
    label = f"The agent {agent.role.strip()!r}"
    if agent.max_iter > limits.max_iter:
        set_by = "CrewAI's default" if "max_iter" not in agent.model_fields_set else "set"
        yield (
            f"{label} has max_iter={agent.max_iter} ({set_by}), above the limit max_iter={limits.max_iter}: "
            "build it with max_iter=run.limits.max_iter."
        )
    yield from _unlimited_llm(f"{label}: its model", agent.llm, limits)
    yield from _unlimited_llm(
        f"{label}: its function_calling_llm", getattr(agent, "function_calling_llm", None), limits
    )


def _unlimited_llm(label: str, llm: Any, limits: RunLimits) -> Iterator[str]:
    if llm is None:
        return
    timeout, retries = getattr(llm, "timeout", None), getattr(llm, "max_retries", 0)
    if not isinstance(timeout, int | float) or timeout > limits.model_seconds:
        yield (
            f"{label} has timeout={timeout}, and the limit is model_seconds={limits.model_seconds:g}: "
            'build it with llm=run.llm("fast") or run.llm("strong").'
        )
    if retries > limits.model_retries:
        yield f"{label} has max_retries={retries}, above the limit model_retries={limits.model_retries}."
