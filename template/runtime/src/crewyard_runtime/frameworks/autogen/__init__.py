"""AutoGen's classic API under the runtime: what is built is judged; turns, tools and model calls keep to the limits.

It has no hook for a whole process, so its own methods are wrapped (autogen 0.14).
"""

import logging

from crewyard_runtime.frameworks.autogen.build import (
    LOCAL_STORES,
    PARTS,
    TYPED,
    build,
    kick_off,
    make_llm,
    plain_result,
)
from crewyard_runtime.frameworks.autogen.code import make_code_executor
from crewyard_runtime.frameworks.autogen.hooks import install_hooks, watch_handovers
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

# It warns for each call whose price it does not know; the runtime has prices of its own.
logging.getLogger("autogen.oai.client").setLevel(logging.ERROR)
