"""Embeddings of texts, by any server that speaks OpenAI's protocol."""

from typing import Any

import httpcore  # noqa: F401  # httpx would import it with its first client: in a thread, while a tool forks
import httpx
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from crewyard_runtime.providers import EMBEDDING_PROVIDERS, split_model
from crewyard_runtime.settings import RuntimeSettings

SECONDS = 5.0
ATTEMPTS = 3


class NoEmbedding(ValueError):
    """The server gave no embedding that the memory could keep; the message says why, and what to do."""


class HttpEmbedder:
    """The embedding model that the settings name. Its calls raise httpx's errors, and NoEmbedding.

    seconds: how long one request may take; it is sent again after 429, 5xx or a broken connection.
    """

    def __init__(self, settings: RuntimeSettings, seconds: float = SECONDS) -> None:
        provider, self._model = split_model(settings.embedding_model)
        key = settings.embedding_key()
        address = settings.embedding_base_url or (settings.openai_base_url if provider == "openai" else None)
        self._dimensions = settings.embedding_dimensions
        self._url = f"{(address or EMBEDDING_PROVIDERS[provider]).rstrip('/')}/embeddings"
        headers = {"authorization": f"Bearer {key.get_secret_value()}"} if key else {}
        self._http = httpx.Client(timeout=seconds, headers=headers)

    def embed(self, text: str) -> list[float]:
        """The embedding of one text."""
        return self.embed_many([text])[0]

    def embed_many(self, texts: list[str]) -> list[list[float]]:
        """The embeddings of up to 100 texts, in their order."""
        request: dict[str, Any] = {"model": self._model, "input": texts, "encoding_format": "float"}
        if self._model.startswith("text-embedding-3"):  # other models take no wish
            request["dimensions"] = self._dimensions
        retrying = Retrying(
            retry=retry_if_exception(_passes),
            stop=stop_after_attempt(ATTEMPTS),
            wait=wait_random_exponential(0.2, 2),
            reraise=True,
        )
        return retrying(self._ask, request)

    def _ask(self, request: dict[str, Any]) -> list[list[float]]:
        reply = self._http.post(self._url, json=request)
        reply.raise_for_status()
        try:
            data = sorted(reply.json()["data"], key=lambda each: each["index"])
            vectors: list[list[float]] = [each["embedding"] for each in data]
        except (ValueError, KeyError, TypeError) as error:
            msg = f"{self._url} answered with something that is no list of embeddings."
            raise NoEmbedding(msg) from error
        if len(vectors) != len(request["input"]) or any(len(vector) != self._dimensions for vector in vectors):
            found = len(vectors[0]) if vectors else 0
            msg = (
                f"The model {self._model} gives embeddings of {found} dimensions, and EMBEDDING_DIMENSIONS is "
                f"{self._dimensions}: set it to {found}, then run the command `memory reindex`."
            )
            raise NoEmbedding(msg)
        return vectors


def _passes(error: BaseException) -> bool:
    """Whether the same request may succeed a moment later."""
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code == 429 or error.response.status_code >= 500
    return isinstance(error, httpx.TransportError)
