"""The model providers that can be named in a setting, as data: the variable of the key and the package to install."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Provider:
    """Only providers whose client takes a time limit are listed: CrewAI's Gemini client, for one, takes none.

    key: the variable that holds its API key (None: it needs none). package: the module that must be importable.
    base_url: where it speaks OpenAI's protocol, if it does and OpenAI's SDK does not know."""

    key: str | None
    example: str
    package: str
    install: str
    base_url: str | None = None


PROVIDERS = {
    "openai": Provider("OPENAI_API_KEY", "sk-...", "openai", "openai"),
    "anthropic": Provider("ANTHROPIC_API_KEY", "sk-ant-...", "anthropic", "crewai[anthropic]"),
    "openrouter": Provider("OPENROUTER_API_KEY", "sk-or-...", "openai", "openai", "https://openrouter.ai/api/v1"),
    "deepseek": Provider("DEEPSEEK_API_KEY", "sk-...", "openai", "openai", "https://api.deepseek.com"),
    "ollama": Provider(None, "", "openai", "openai", "http://localhost:11434/v1"),
}


# Those that serve embeddings by OpenAI's protocol, and where.
EMBEDDING_PROVIDERS = {
    "openai": "https://api.openai.com/v1",
    "openrouter": "https://openrouter.ai/api/v1",
    "ollama": "http://localhost:11434/v1",
}


def split_model(model: str) -> tuple[str, str]:
    """("openai", "gpt-4o") for "openai/gpt-4o"; a name without a provider is OpenAI's. Raises ValueError."""
    provider, slash, name = model.partition("/")
    if not slash:
        provider, name = "openai", model
    if provider not in PROVIDERS or not name.strip():
        msg = f"{model!r} is not of the form provider/model with one of the providers {', '.join(PROVIDERS)}"
        raise ValueError(msg)
    return provider, name
