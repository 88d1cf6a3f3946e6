"""What a run has used: model calls, tokens, and US dollars as far as the model's price is known."""

import threading

from pydantic import BaseModel

from crewyard_runtime.providers import split_model


class Usage(BaseModel):
    """Counted for one run. `cost_usd` is None as soon as one call's price is unknown: unknown is not free."""

    model_calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float | None = 0.0

    @property
    def tokens(self) -> int:
        """Prompt and completion tokens together."""
        return self.prompt_tokens + self.completion_tokens


def price_usd(model: str, prompt_tokens: int, completion_tokens: int) -> float | None:
    """The list price of one call in US dollars, from the data that genai-prices ships; None if it knows no price."""
    # Imported here: 0.3 s and 12 MB that only a process that calls models needs.
    from genai_prices import Usage as Tokens
    from genai_prices import calc_price

    try:
        provider, name = split_model(model)
        tokens = Tokens(input_tokens=prompt_tokens, output_tokens=completion_tokens)
        return float(calc_price(tokens, model_ref=name, provider_id=provider).total_price)
    except (LookupError, ValueError):
        return None


class UsageMeter:
    """Adds up the usage of one run; safe to call from the framework's threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._total = Usage()

    def add(self, model: str, tokens: tuple[int, int] | None) -> None:
        """Count one model call: its prompt and completion tokens, or None if the provider did not tell."""
        prompt_tokens, completion_tokens = tokens or (0, 0)
        price = price_usd(model, prompt_tokens, completion_tokens) if tokens else None
        with self._lock:
            before = self._total
            known = None if before.cost_usd is None or price is None else before.cost_usd + price
            self._total = Usage(
                model_calls=before.model_calls + 1,
                prompt_tokens=before.prompt_tokens + prompt_tokens,
                completion_tokens=before.completion_tokens + completion_tokens,
                cost_usd=known,
            )

    @property
    def total(self) -> Usage:
        """What was used so far."""
        with self._lock:
            return self._total.model_copy()
