"""An assistant that asks a tool, and a proxy that calls it; the chat ends after a few turns."""

from collections.abc import Callable
from typing import Annotated, Any

from autogen import AssistantAgent, UserProxyAgent, register_function
from crewyard_runtime import RunContext

from .models import Answer, Question


def look_up(words: Annotated[str, "what to look up"]) -> dict[str, str]:
    """Look words up."""
    return {"found": words}


def build_team(run: RunContext[Any, Question]) -> Callable[[], Answer]:
    """A function that has the two talk."""
    assistant = AssistantAgent("assistant", llm_config=run.llm("strong"))
    proxy = UserProxyAgent("proxy", human_input_mode="NEVER", code_execution_config=False)
    register_function(look_up, caller=assistant, executor=proxy, description="Look words up.")

    def talk() -> Answer:
        result = proxy.initiate_chat(assistant, message=run.input.text, max_turns=2, summary_method="last_msg")
        return Answer(text=str(result.summary))

    return talk
