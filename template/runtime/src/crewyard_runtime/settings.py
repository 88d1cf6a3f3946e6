"""The settings of a project: variables over `.env` over secrets over `platform.toml` over the defaults."""

import re
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, AliasChoices, BaseModel, Field, RootModel, SecretBytes, SecretStr
from pydantic.types import Secret
from pydantic_core import to_jsonable_python
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from crewyard_runtime.embedded import memory_url
from crewyard_runtime.identity import USER_ID
from crewyard_runtime.limits import RunLimits
from crewyard_runtime.providers import EMBEDDING_PROVIDERS, PROVIDERS, split_model
from crewyard_runtime.secret_sources import PLACES, SecretVariables, Source, open_source

PLATFORM_FILE = "platform.toml"
# What names the place of each memory.
MEMORY_VARIABLES = {
    "pgvector": "MEMORY_DATABASE_URL",
    "qdrant": "QDRANT_URL",
    "mem0-cloud": "MEM0_API_KEY",
    "volume": "MEMORY_DIR",
}
# Where `load` reads secrets. Settings that are made otherwise have no such source: those of a run came by its pipe.
_SECRETS: ContextVar[Source | None] = ContextVar("secrets", default=None)


def _known_model(model: str) -> str:
    split_model(model)
    return model


def _one_word(secret: SecretStr | None) -> SecretStr | None:
    """Without the white space around it, which a shell or an editor left; none if nothing remains."""
    text = secret.get_secret_value().strip() if secret else ""
    for what, there in (
        ("a line break", "\n" in text or "\r" in text),
        ("a space", any(map(str.isspace, text))),
        ("a character that cannot be seen", not text.isprintable()),
    ):
        if there:
            msg = f"it has {what} inside, which no key and no URL has: was more than it copied?"
            raise ValueError(msg)
    return SecretStr(text) if text else None


def _signing_secret(secret: SecretStr | None) -> SecretStr | None:
    if secret and not re.fullmatch(r"whsec_[A-Za-z0-9+/]{32,}={0,2}", secret.get_secret_value()):
        msg = "it must be whsec_ and at least 24 bytes in base64: openssl rand -base64 32"
        raise ValueError(msg)
    return secret


def _pinned_image(image: str) -> str:
    """An image whose content does not change by itself; a registry's port is no tag."""
    name, _, digest = image.rpartition("@")
    tag = image.rpartition("/")[2].partition(":")[2]
    by_digest = re.fullmatch(r"sha256:[0-9a-f]{64}", digest if name else image)
    if not re.match(r"[a-z0-9]", image) or not (by_digest or re.search(r"\d+\.\d+\.\d+", tag)):
        msg = (
            f"{image!r} is not pinned: give its tag the whole version, like python:3.12.12-slim-bookworm, or name its "
            "digest, like python@sha256:... with 64 hex digits"
        )
        raise ValueError(msg)
    return image


def _embedding_model(model: str) -> str:
    provider = split_model(model)[0]
    if provider not in EMBEDDING_PROVIDERS:
        known = ", ".join(EMBEDDING_PROVIDERS)
        msg = f"{provider} serves no embeddings; there is {known}, and any server that EMBEDDING_BASE_URL names"
        raise ValueError(msg)
    return model


Model = Annotated[str, AfterValidator(_known_model)]
EmbeddingModel = Annotated[str, AfterValidator(_embedding_model)]
PinnedImage = Annotated[str, AfterValidator(_pinned_image)]
# A key, or a URL that has a password in it.
Key = Annotated[SecretStr | None, AfterValidator(_one_word)]
WebhookSecret = Annotated[Key, AfterValidator(_signing_secret)]


def find_project() -> Path | None:
    """The nearest directory from the working directory upwards that holds `platform.toml`."""
    here = Path.cwd()
    return next((place for place in (here, *here.parents) if (place / PLATFORM_FILE).is_file()), None)


def _default_writable_dir() -> Path:
    return Path.home() / ".cache" / "crewyard"


class ApplicationSettings(BaseSettings):
    """Base of a team's settings: read from variables, the project's `.env` and its secrets, unknown variables ignored.

    Give each field a `description` and `examples`: `check` prints them when the variable is missing.
    """

    _reads_platform: ClassVar[bool] = False
    _reads_secrets: ClassVar[bool] = True
    model_config = SettingsConfigDict(
        env_ignore_empty=True, extra="ignore", populate_by_name=True, validate_default=True, hide_input_in_errors=True
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Values given by name, the environment, `.env`, secrets; for the runtime's own, `platform.toml` at last."""
        secrets = _SECRETS.get()
        asked = () if secrets is None else (SecretVariables(settings_cls, secrets),)
        sources = (init_settings, env_settings, dotenv_settings, *asked)
        project = find_project() if cls._reads_platform else None
        return (
            sources if project is None else (*sources, TomlConfigSettingsSource(settings_cls, project / PLATFORM_FILE))
        )

    @classmethod
    def load(cls, **overrides: Any) -> Self:
        """Read and validate the settings; `overrides` win.

        Raises ValidationError with every problem at once, and SecretsNotRead if the source of secrets cannot be asked.
        """
        project = find_project()
        reading = _SECRETS.set(SecretSettings.load().source() if cls._reads_secrets else None)
        try:
            return cls(_env_file=project / ".env" if project else None, **overrides)  # type: ignore[call-arg]
        finally:
            _SECRETS.reset(reading)


class SecretSettings(ApplicationSettings):
    """Where all other settings find what no variable has; these themselves are not looked for there."""

    _reads_platform = True
    _reads_secrets = False
    model_config = SettingsConfigDict(str_strip_whitespace=True)

    secrets: Literal["files", "environment", "aws", "gcp", "azure"] = Field(
        default="files", description="where secrets are read"
    )
    secrets_dir: Path = Field(
        default=Path("/run/secrets"), description="the directory of the files", examples=["/run/secrets"]
    )
    aws_secret_id: str | None = Field(
        default=None,
        description="the secret of AWS Secrets Manager that holds all variables",
        examples=["my-crew/production"],
    )
    aws_region: str | None = Field(
        default=None,
        validation_alias=AliasChoices("AWS_REGION", "AWS_DEFAULT_REGION", "aws_region"),
        description="the region of that secret",
        examples=["eu-central-1"],
    )
    google_cloud_project: str | None = Field(
        default=None,
        description="the project whose Secret Manager holds the variables",
        examples=["my-crew-production"],
    )
    azure_key_vault_url: str | None = Field(
        default=None,
        pattern=r"^https://",
        description="the vault that holds the variables",
        examples=["https://my-crew.vault.azure.net"],
    )

    def place(self) -> Path | str | None:
        """What names the place of the source: a directory, a secret, a project or a URL; None if it is not set."""
        variable = PLACES.get(self.secrets)
        place: Path | str | None = getattr(self, variable.lower()) if variable else None
        return place

    def source(self) -> Source | None:
        """The source to read; None if there is none, or its place is not named. Raises SecretsNotRead."""
        return open_source(self.secrets, self.place(), self.aws_region)


class RuntimeSettings(ApplicationSettings):
    """What the runtime itself needs. `platform.toml` is its lowest source, so changing an answer changes a default."""

    _reads_platform = True
    model_config = SettingsConfigDict(env_nested_delimiter="__", str_strip_whitespace=True)

    framework: str = Field(default="crewai", description="the agent framework of this project")
    model_fast: Model = Field(
        default="openai/gpt-4o-mini",
        validation_alias=AliasChoices("MODEL_FAST", "CREWAI_LLM_MODEL", "model_fast"),
        description="the model for simple steps",
        examples=["openai/gpt-4o-mini"],
    )
    model_strong: Model = Field(
        default="openai/gpt-4o",
        validation_alias=AliasChoices("MODEL_STRONG", "CREWAI_LLM_MODEL", "model_strong"),
        description="the model for hard steps",
        examples=["openai/gpt-4o"],
    )
    temperature: float | None = Field(
        default=None,
        ge=0,
        le=2,
        validation_alias=AliasChoices("TEMPERATURE", "CREWAI_TEMPERATURE", "temperature"),
        description="sampling temperature of both models",
        examples=["0.2"],
    )
    openai_base_url: str | None = Field(
        default=None,
        pattern=r"^https?://",
        validation_alias=AliasChoices("OPENAI_BASE_URL", "OPENAI_API_BASE", "openai_base_url"),
        description="another server that speaks OpenAI's protocol",
        examples=["http://localhost:8080/v1"],
    )
    openai_api_key: Key = Field(default=None, description="key for models named openai/...")
    anthropic_api_key: Key = Field(default=None, description="key for models named anthropic/...")
    openrouter_api_key: Key = Field(default=None, description="key for models named openrouter/...")
    deepseek_api_key: Key = Field(default=None, description="key for models named deepseek/...")
    user_id: str | None = Field(
        default=None,
        pattern=USER_ID,
        description="the user that runs of this process belong to, where no request names one",
        examples=["alice"],
    )
    writable_dir: Path = Field(
        default_factory=_default_writable_dir,
        description="the one directory that runs may write to",
        examples=["/tmp/my-crew"],
    )
    lease_seconds: float = Field(
        default=30,
        ge=1,
        le=3_600,
        description="seconds a run goes on after its parent process fell silent",
        examples=["30"],
    )
    limits: RunLimits = Field(default=RunLimits(), description="the limits of a run")
    memory: Literal["pgvector", "qdrant", "mem0-cloud", "volume", "none"] = Field(
        default="none", description="where it is kept what is known about users"
    )
    memory_database_url: Key = Field(
        default=None,
        description="the same Postgres as DATABASE_URL, for the role of the memory",
        examples=["postgresql://crew_memory:password@localhost/crew"],
    )
    qdrant_url: str | None = Field(
        default=None, pattern=r"^https?://", description="the Qdrant server", examples=["http://localhost:6333"]
    )
    qdrant_api_key: Key = Field(default=None, description="key of the Qdrant server")
    mem0_api_key: Key = Field(default=None, description="key of Mem0's cloud", examples=["m0-..."])
    mem0_url: str = Field(
        default="https://api.mem0.ai", pattern=r"^https?://", description="another server that speaks Mem0's protocol"
    )
    memory_dir: Path | None = Field(
        default=None, description="the mounted directory of the memory", examples=["/var/lib/my-crew/memory"]
    )
    embedding_model: EmbeddingModel = Field(
        default="openai/text-embedding-3-small",
        description="the model that makes vectors of what is remembered",
        examples=["openai/text-embedding-3-small"],
    )
    embedding_dimensions: int = Field(
        default=1_536, ge=1, le=2_000, description="dimensions of its vectors", examples=["1536"]
    )
    embedding_base_url: str | None = Field(
        default=None,
        pattern=r"^https?://",
        description="another server of embeddings that speaks OpenAI's protocol",
        examples=["http://localhost:8080/v1"],
    )
    embedding_api_key: Key = Field(
        default=None, description="key for the embeddings, where it is not the provider's own"
    )
    code_execution: Literal["none", "docker", "local"] = Field(
        default="none", description="where code that a model writes is executed"
    )
    docker_host: str | None = Field(
        default=None,
        description="the Docker daemon of the sandbox, which runs nothing else",
        examples=["tcp://sandbox:2376"],
    )
    docker_cert_path: Path | None = Field(
        default=None, description="the directory of the certificates for a tcp daemon", examples=["/certs/client"]
    )
    code_image: PinnedImage = Field(
        default="python:3.12.12-slim-bookworm",
        description="the image that code runs in",
        examples=["python:3.12.12-slim-bookworm"],
    )

    def model(self, role: str) -> str:
        """The model of a role. Raises ValueError for another role than "fast" or "strong"."""
        if role not in ("fast", "strong"):
            msg = f'run.llm("{role}"): a project has two models, "fast" and "strong".'
            raise ValueError(msg)
        return self.model_fast if role == "fast" else self.model_strong

    def on_embedded(self, database_url: str) -> Self:
        """These settings on the embedded Postgres: the memory has a role of its own there.

        It stands in for a server of the memory that is not named; for a directory that is not, nothing does.
        """
        memory = "pgvector" if self.memory in ("qdrant", "mem0-cloud") and not self.memory_server() else self.memory
        if memory == "volume" and self.memory_dir is None:
            memory = "none"
        url = self.memory_database_url or SecretStr(memory_url(database_url))
        return self.model_copy(update={"memory": memory, "memory_database_url": url if memory == "pgvector" else None})

    def for_a_run(self) -> Self:
        """These settings without the secrets that no run of them needs: keys of other providers and other memories."""
        used = {PROVIDERS[split_model(model)[0]].key for model in (self.model_fast, self.model_strong)}
        if self.memory not in ("none", "mem0-cloud"):
            provider = PROVIDERS[split_model(self.embedding_model)[0]]
            used |= {"EMBEDDING_API_KEY" if self.embedding_api_key else provider.key}
        used |= {"MEMORY_DATABASE_URL"} if self.memory == "pgvector" else set()
        used |= {"QDRANT_API_KEY"} if self.memory == "qdrant" else set()
        used |= {"MEM0_API_KEY"} if self.memory == "mem0-cloud" else set()
        secrets = [name for name in type(self).model_fields if isinstance(getattr(self, name), SecretStr)]
        return self.model_copy(update={name: None for name in secrets if name.upper() not in used})

    def memory_server(self) -> object:
        """What names the place of the memory: a URL, a key or a directory; None if it is not set."""
        variable = MEMORY_VARIABLES.get(self.memory)
        return getattr(self, variable.lower()) if variable else None

    def embedding_key(self) -> SecretStr | None:
        """The key for the embedding model, if one is set."""
        return self.embedding_api_key or self.api_key(self.embedding_model)

    def api_key(self, model: str) -> SecretStr | None:
        """The key for a model's provider, if it is set."""
        variable = PROVIDERS[split_model(model)[0]].key
        key: SecretStr | None = getattr(self, variable.lower()) if variable else None
        return key


class ServiceSettings(ApplicationSettings):
    """What the gateway and the workers need; no run receives any of it."""

    _reads_platform = True
    model_config = SettingsConfigDict(str_strip_whitespace=True)

    database_url: Key = Field(
        default=None,
        description="the Postgres that holds all runs",
        examples=["postgresql://user:password@localhost/crew"],
    )
    broker: Literal["redis", "rabbitmq", "sqs"] = Field(default="redis", description="what wakes the workers")
    broker_url: Key = Field(default=None, description="the URL of the broker", examples=["redis://localhost:6379/0"])
    broker_queue: str = Field(
        default="crewyard",
        pattern=r"^[A-Za-z0-9_-]{1,60}$",
        description="the queue of this service, where several share a broker",
        examples=["crewyard"],
    )
    sqs_endpoint_url: str | None = Field(
        default=None, pattern=r"^https?://", description="another server that speaks the protocol of SQS"
    )
    aws_region: str = Field(default="us-east-1", description="the region of the SQS queue", examples=["eu-central-1"])
    auth: Literal["api-keys", "oidc"] = Field(default="api-keys", description="how callers say who they are")
    oidc_issuer: str | None = Field(
        default=None,
        pattern=r"^https?://",
        description="whose tokens are taken",
        examples=["https://login.example.com/realms/main"],
    )
    oidc_audience: str | None = Field(default=None, description="what tokens must be made for", examples=["my-crew"])
    oidc_algorithms: list[Literal["RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA"]] = Field(
        default=["RS256"], min_length=1, description="how tokens may be signed", examples=['["RS256"]']
    )
    webhook_secret: WebhookSecret = Field(
        default=None,
        description="signs completion webhooks; without it none are taken",
        examples=["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
    )
    webhook_internal_hosts: list[str] = Field(
        default=[], description="internal hosts that webhooks may go to", examples=['["hooks.internal"]']
    )
    max_attempts: int = Field(default=3, ge=1, le=100, description="attempts that may die before a run is dead")
    runs_per_user: int = Field(default=10, ge=1, description="runs of one user that go on at the same time")
    queue_bound: int = Field(default=10_000, ge=1, description="queued runs above which new ones are refused (503)")
    requests_per_minute: int = Field(default=600, ge=1, le=1_000_000, description="requests of one user a minute")
    body_bytes: int = Field(default=1_000_000, ge=1_000, description="bytes of a request's body")
    body_depth: int = Field(default=32, ge=1, le=200, description="levels of lists and objects in a request's body")
    grace_seconds: float = Field(
        default=20, ge=0, description="seconds that a run may go on for when its worker has to stop"
    )
    sweep_seconds: float = Field(default=1, gt=0, le=60, description="seconds between two looks for lost runs")
    retention_days: float = Field(default=30, gt=0, description="days that ended runs are kept")
    memory_retention_days: float = Field(default=365, gt=0, description="days that memories are kept")
    workers: int = Field(default=1, ge=1, description="workers of the whole service; a memory on a volume takes one")


def plain(value: Any) -> Any:
    """Settings as data that crosses a process border: like `model_dump(mode="json")`, with the secrets revealed."""
    return to_jsonable_python(_revealed(value))


def _revealed(value: Any) -> Any:
    if isinstance(value, RootModel):
        return _revealed(value.root)
    if isinstance(value, BaseModel):
        return {name: _revealed(getattr(value, name)) for name in type(value).model_fields}
    if isinstance(value, dict):
        return {key: _revealed(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_revealed(item) for item in value]
    return value.get_secret_value() if isinstance(value, Secret | SecretStr | SecretBytes) else value
