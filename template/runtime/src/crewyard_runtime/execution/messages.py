"""What crosses the border between the parent and a run's process: plain data, as JSON."""

from typing import Any, Literal

from pydantic import BaseModel, Field

from crewyard_runtime.errors import ErrorLink
from crewyard_runtime.usage import Usage

Status = Literal["succeeded", "failed", "timed_out", "cancelled"]


class RunRequest(BaseModel):
    """One run to be done. `settings` and `runtime` are the validated settings with their secrets.

    memory_token: opens the memory of this user, where it has a lock of that kind.
    held_since: when its lease began, by `time.monotonic`, which all processes of a machine share.
    """

    run_id: str
    attempt: int = 1
    user_id: str | None = None
    input: dict[str, Any] | list[Any] | str | int | float | bool | None
    settings: dict[str, Any] = Field(repr=False)
    runtime: dict[str, Any] = Field(repr=False)
    memory_token: str | None = Field(default=None, repr=False)
    workspace: str = ""
    deadline: float = 0
    with_tools: bool = True
    held_since: float = 0
    request_id: str | None = None
    json_logs: bool = False


class Failure(BaseModel):
    """Why a run has no result: a sentence, and the exceptions that led to it, outermost first."""

    reason: str
    chain: list[ErrorLink] = []


class Outcome(BaseModel):
    """How a run ended. Times are in seconds. died: its process did, without a result; another attempt may have one."""

    run_id: str
    status: Status
    died: bool = False
    output: Any = None
    error: Failure | None = None
    usage: Usage = Field(default_factory=Usage)
    build_seconds: float = 0
    run_seconds: float = 0


class Message(BaseModel):
    """What a run's process sends: an event of the run, or its outcome."""

    event: str | None = None
    data: dict[str, Any] = {}
    outcome: Outcome | None = None


class Hello(BaseModel):
    """What a process forked for a trial found: modules not preloaded (with the reason), and threads at the fork."""

    missing: dict[str, str]
    threads: list[str]
