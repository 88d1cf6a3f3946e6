"""Where a model is, for clients that speak OpenAI's protocol."""

from dataclasses import dataclass, field

from crewyard_runtime.providers import PROVIDERS, split_model
from crewyard_runtime.settings import RuntimeSettings


@dataclass(frozen=True)
class Endpoint:
    """model: its name at the provider. base_url: None for OpenAI's own."""

    model: str
    api_key: str = field(repr=False)
    base_url: str | None


def endpoint_of(settings: RuntimeSettings, role: str) -> Endpoint:
    """Of the role "fast" or "strong". Raises ValueError for another."""
    model = settings.model(role)
    provider, name = split_model(model)
    key = settings.api_key(model)
    base_url = settings.openai_base_url if provider == "openai" else PROVIDERS[provider].base_url
    return Endpoint(name, key.get_secret_value() if key else "none", base_url)
