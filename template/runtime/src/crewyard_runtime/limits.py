"""The limits of a run, for whoever builds agents: every bound in one place, each with a default."""

from pydantic import BaseModel, ConfigDict, Field


class RunLimits(BaseModel):
    """What one run may use. A project changes a limit in `platform.toml` or by a variable like `LIMITS__MAX_ITER`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    deadline_seconds: float = Field(
        default=600, gt=0, le=86_400, description="seconds a run may take before it is killed"
    )
    max_iter: int = Field(default=7, ge=1, le=100, description="model calls an agent may make for one task")
    max_turns: int = Field(default=20, ge=1, le=1_000, description="turns that the agents of a group chat may take")
    guardrail_retries: int = Field(default=3, ge=0, le=10, description="times a guardrail may send work back")
    model_seconds: float = Field(default=60, gt=0, le=3_600, description="seconds one model request may take")
    model_retries: int = Field(default=3, ge=0, le=10, description="retries of a model request after 429 or 5xx")
    tool_seconds: float = Field(
        default=30, gt=0, le=3_600, description="seconds one tool call may take, its retries included"
    )
    tool_characters: int = Field(
        default=20_000, ge=100, le=1_000_000, description="characters of a tool's result that agents are shown"
    )
    tool_retries: int = Field(default=2, ge=0, le=10, description="retries of a tool call after a transient error")
    tool_concurrency: int = Field(default=4, ge=1, le=64, description="tool calls of one run at the same time")
    history_messages: int = Field(default=12, ge=4, le=1_000, description="messages that a model call may carry")
    delegations_in_a_row: int = Field(
        default=2, ge=0, le=20, description="delegations between the same two agents in a row"
    )
    max_tokens: int = Field(default=200_000, ge=1, description="tokens a run may use, prompts and answers together")
    max_cost_usd: float = Field(
        default=1.0, gt=0, description="US dollars a run may cost, where the model's price is known"
    )
    recall_seconds: float = Field(default=0.3, gt=0, le=60, description="seconds a run waits for what is remembered")
    remember_seconds: float = Field(
        default=5, gt=0, le=60, description="seconds a run waits until what it remembers, lists or forgets is done"
    )
    memory_tokens: int = Field(
        default=500, ge=0, le=100_000, description="tokens of what is known about the user that agents are told unasked"
    )
    code_seconds: float = Field(
        default=20, gt=0, le=3_600, description="seconds one execution of code that a model wrote may take"
    )
    code_memory_mb: int = Field(
        default=256, ge=64, le=65_536, description="megabytes of memory that such code may use, its files included"
    )
    code_processes: int = Field(default=64, ge=8, le=4_096, description="processes and threads of such code at once")
    code_disk_mb: int = Field(default=64, ge=1, le=65_536, description="megabytes that the files of such code may take")
