"""CrewAI under the runtime: builds, checks, kicks off and counts, through CrewAI's own hooks and events."""

import logging
from contextlib import suppress
from importlib import import_module

from crewyard_runtime.frameworks.crewai.build import LOCAL_STORES, PARTS, build, kick_off, make_llm, plain_result
from crewyard_runtime.frameworks.crewai.hooks import install_hooks, watch_handovers

__all__ = ["LOCAL_STORES", "PARTS", "build", "install_hooks", "kick_off", "make_llm", "plain_result", "watch_handovers"]

# A run imports these lazily. Imported here they are preloaded into the fork server, and a run is a second shorter; one
# that a later release moves costs no more than that.
for _module in (
    "crewai.llms.providers.openai.completion",
    "crewai.tasks.llm_guardrail",
    "genai_prices.data",
    "genai_prices.data_snapshot",
    "httpcore",
    "httpx2",
    "openai.resources.chat.completions",
):
    with suppress(ImportError):
        import_module(_module)

# It warns at each call that it cannot count tokens exactly; the provider's own count comes with the answer.
logging.getLogger("crewai.llms.base_llm").setLevel(logging.ERROR)
