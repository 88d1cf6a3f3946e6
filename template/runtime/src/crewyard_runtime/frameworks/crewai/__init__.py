"""CrewAI under the runtime: builds, checks, kicks off and counts, through CrewAI's own hooks and events."""

import logging

from crewyard_runtime.frameworks.crewai.build import LOCAL_STORES, PARTS, TYPED, build, kick_off, make_llm, plain_result
from crewyard_runtime.frameworks.crewai.code import make_code_executor
from crewyard_runtime.frameworks.crewai.hooks import install_hooks, watch_handovers
from crewyard_runtime.frameworks.preload import preload, preload_model_calls

__all__ = [
    "LOCAL_STORES",
    "PARTS",
    "TYPED",
    "build",
    "install_hooks",
    "kick_off",
    "make_code_executor",
    "make_llm",
    "plain_result",
    "watch_handovers",
]

# Without it a run takes a second longer.
preload_model_calls()
preload("crewai.llms.providers.openai.completion", "crewai.tasks.llm_guardrail")

# It warns at each call that it cannot count tokens exactly; the provider's own count comes with the answer.
logging.getLogger("crewai.llms.base_llm").setLevel(logging.ERROR)
