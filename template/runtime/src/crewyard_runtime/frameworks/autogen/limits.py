"""What bounds a chat: which limits its parts lack."""

from collections.abc import Iterator

from autogen import ConversableAgent, GroupChat, LLMConfig

from crewyard_runtime.context import RunContext
from crewyard_runtime.errors import BuildRefused, MemoryOnDisk, OutsideSandbox
from crewyard_runtime.frameworks.autogen.code import SandboxExecutor

# Agents that AutoGen makes unasked: two choose a speaker by a model, and one hands in the first message of a pattern.
# They take no turn of their own, and where the last is to speak, its question to a human ends the run.
UNASKED = ("checking_agent", "speaker_selection_agent", "_User")


def unlimited(thing: object, run: RunContext) -> Iterator[BuildRefused]:
    """A refusal for each limit that a part lacks or exceeds."""
    if isinstance(thing, GroupChat):
        if thing.max_round > run.limits.max_turns:
            yield BuildRefused(
                f"A GroupChat has max_round={thing.max_round}, above the limit max_turns={run.limits.max_turns}: build "
                "it with max_round=run.limits.max_turns; a model may never say the word that would end it."
            )
    elif isinstance(thing, ConversableAgent) and thing.name not in UNASKED:
        yield from _unlimited_agent(thing)


def _unlimited_agent(agent: ConversableAgent) -> Iterator[BuildRefused]:
    label = f"The agent {agent.name!r}"
    if agent.human_input_mode != "NEVER":
        yield BuildRefused(
            f"{label} asks a human (human_input_mode={agent.human_input_mode!r}), and a run has no terminal: build it "
            'with human_input_mode="NEVER".'
        )
    if agent._code_execution_config is not False and not isinstance(agent.code_executor, SandboxExecutor):
        yield OutsideSandbox(
            f"{label} executes code outside of the sandbox: build it with code_execution_config=False, or with "
            'code_execution_config={"executor": run.code_executor()}.'
        )
    config = agent.llm_config
    if isinstance(config, LLMConfig) and config.cache_seed is not None:
        yield MemoryOnDisk(
            f"{label} has cache_seed={config.cache_seed}: answers would come from a cache on the disk, other users' "
            'too. Build it with llm_config=run.llm("fast") or run.llm("strong").'
        )
