"""Agent Framework under the runtime: what is built is judged, its turns, tools and model calls held to the limits.

Turns and tools by its own middleware, which each agent of a run is given; model calls at OpenAI's SDK.
"""

from crewyard_runtime.frameworks.agent_framework.build import (
    LOCAL_STORES,
    PARTS,
    TYPED,
    build,
    kick_off,
    make_llm,
    plain_result,
)
from crewyard_runtime.frameworks.agent_framework.code import make_code_executor
from crewyard_runtime.frameworks.agent_framework.hooks import install_hooks, watch_handovers
from crewyard_runtime.frameworks.preload import preload_model_calls

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

preload_model_calls()
