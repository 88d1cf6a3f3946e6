"""What runs import lazily, imported early: in the fork server once, and not in each run."""

from contextlib import suppress
from importlib import import_module


def preload(*modules: str) -> None:
    """Import those that are there; one that a later release of its library moves costs no more than its time."""
    for module in modules:
        with suppress(ImportError):
            import_module(module)


def preload_model_calls() -> None:
    """What a call by OpenAI's SDK and its price import."""
    preload(
        "anyio._backends._asyncio",
        "genai_prices.data",
        "genai_prices.data_snapshot",
        "httpcore",
        "httpcore2",
        "httpx2",
        "openai.resources.chat.completions",
    )
