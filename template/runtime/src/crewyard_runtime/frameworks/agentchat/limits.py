"""What bounds a team: which limits its parts lack."""

from collections.abc import Iterator

from autogen_agentchat.agents import AssistantAgent, UserProxyAgent
from autogen_agentchat.teams import BaseGroupChat
from autogen_core.code_executor import CodeExecutor

from crewyard_runtime.context import RunContext
from crewyard_runtime.errors import BuildRefused, OutsideSandbox
from crewyard_runtime.frameworks.agentchat.code import SandboxExecutor


def unlimited(thing: object, run: RunContext) -> Iterator[BuildRefused]:
    """A refusal for each limit that a part lacks or exceeds."""
    limits = run.limits
    if isinstance(thing, BaseGroupChat):
        turns = thing._max_turns
        if turns is None or turns > limits.max_turns:
            yield BuildRefused(
                f"The team {thing.name!r} has max_turns={turns}, and the limit is max_turns={limits.max_turns}: "
                "build it with max_turns=run.limits.max_turns; a model may never say the word that would end it."
            )
    elif isinstance(thing, UserProxyAgent):
        yield BuildRefused(
            f"The agent {thing.name!r} asks a human, and a run has no terminal: leave the UserProxyAgent out."
        )
    elif isinstance(thing, CodeExecutor) and not isinstance(thing, SandboxExecutor):
        yield OutsideSandbox(
            f"A {type(thing).__name__} executes code outside of the sandbox: take run.code_executor() in its place."
        )
    elif isinstance(thing, AssistantAgent) and thing._max_tool_iterations > limits.max_iter:
        yield BuildRefused(
            f"The agent {thing.name!r} has max_tool_iterations={thing._max_tool_iterations}, above the limit "
            f"max_iter={limits.max_iter}: build it with max_tool_iterations=run.limits.max_iter."
        )
