"""What bounds a workflow: which limits its parts lack."""

from collections.abc import Iterator

from agent_framework import BaseChatClient, FunctionTool, Workflow

from crewyard_runtime.context import RunContext
from crewyard_runtime.errors import BuildRefused

ASKS = "a run has no terminal"


def unlimited(thing: object, run: RunContext) -> Iterator[BuildRefused]:
    """A refusal for each limit that a part lacks or exceeds."""
    limits = run.limits
    if isinstance(thing, Workflow) and thing.max_iterations > limits.max_turns:
        yield BuildRefused(
            f"The workflow {thing.name!r} has max_iterations={thing.max_iterations}, above the limit "
            f"max_turns={limits.max_turns}: build it with WorkflowBuilder(max_iterations=run.limits.max_turns, ...)."
        )
    elif isinstance(thing, FunctionTool) and thing.approval_mode == "always_require":
        yield BuildRefused(
            f"The tool {thing.name!r} asks a human for approval, and {ASKS}: build it without approval_mode."
        )
    elif isinstance(thing, BaseChatClient):
        rounds = getattr(thing, "function_invocation_configuration", {}).get("max_iterations", 0)
        if rounds > limits.max_iter:
            yield BuildRefused(
                f"A model client makes up to {rounds} calls for one answer (max_iterations), above the limit "
                f'max_iter={limits.max_iter}: build it with run.llm("fast") or run.llm("strong").'
            )
