"""AgentChat under the runtime: what is built is judged, its turns, tools, handoffs and model calls held to the limits.

The library has no hooks and gets no releases any more (0.7.5 is of September 2025), so its own methods are wrapped.
"""

import logging
import warnings

from crewyard_runtime.frameworks.agentchat.build import (
    LOCAL_STORES,
    PARTS,
    TYPED,
    build,
    kick_off,
    make_llm,
    plain_result,
)
from crewyard_runtime.frameworks.agentchat.code import make_code_executor
from crewyard_runtime.frameworks.agentchat.hooks import install_hooks, watch_handovers
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

preload_model_calls()
preload("openai.resources.beta.beta")

# It dumps each structured answer for a log that nobody reads, and pydantic warns of it with the answer in the warning.
warnings.filterwarnings("ignore", message="Pydantic serializer warnings")
# It is told what the model can do, and has no need to guess it from the name that the provider answers with.
warnings.filterwarnings("ignore", message="Resolved model mismatch")

# It logs whole prompts at INFO, and each failure of an agent once more than we do.
for _name in ("autogen_agentchat", "autogen_core", "autogen_agentchat.events", "autogen_core.events"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)
