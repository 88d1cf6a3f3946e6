"""The context of one run: all that the runtime hands to a team's code."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic

from pydantic import BaseModel
from typing_extensions import TypeVar

from crewyard_runtime.guardrails.delegation import DelegationGuard
from crewyard_runtime.limits import RunLimits
from crewyard_runtime.memory import KnownFacts, Memory, NoMemory
from crewyard_runtime.sandbox import Execution, NoCode, Sandbox
from crewyard_runtime.tools import ToolGuard
from crewyard_runtime.usage import UsageMeter

if TYPE_CHECKING:
    from drawbridge import SyncClient

SettingsT = TypeVar("SettingsT", default=Any)
InputT = TypeVar("InputT", default=Any)

_current: ContextVar["RunContext[Any, Any] | None"] = ContextVar("crewyard_run", default=None)


class _RunLog(logging.LoggerAdapter[logging.Logger]):
    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        return f"{msg} run={(self.extra or {})['run']}", kwargs


@dataclass(eq=False)
class RunContext(Generic[SettingsT, InputT]):
    """One run of an application, for `RunContext[Settings, Input]`.

    id: the same over all attempts, so it is the key by which a side effect is made to happen once.
    attempt: 1 for the first try.
    user_id: whose run this is, if anybody's.
    input, settings: the application's models, validated.
    limits: what the run may use.
    deadline: when the run is killed, as an aware datetime.
    workspace: a directory of this run alone, removed at its end.
    memory: what is remembered about this user; no call takes a user id.
    known: what of it fits this run's input, which agents are told unasked.
    """

    id: str
    attempt: int
    user_id: str | None
    input: InputT
    settings: SettingsT
    limits: RunLimits
    deadline: datetime
    workspace: Path
    make_llm: Callable[["RunContext[Any, Any]", str], Any] = field(repr=False)
    report: Callable[[str, dict[str, Any]], None] = field(repr=False)
    memory: Memory = field(default_factory=NoMemory, repr=False)
    make_sandbox: Callable[["RunContext[Any, Any]"], Sandbox] = field(default=lambda run: NoCode(), repr=False)
    make_code_executor: Callable[["RunContext[Any, Any]"], Any] | None = field(default=None, repr=False)
    with_tools: bool = True

    def __post_init__(self) -> None:
        self.usage = UsageMeter()
        self.known = KnownFacts(self.memory, self.input, self.limits.memory_tokens, self.report)
        self.tool_guard = ToolGuard(self.limits)
        self.delegations = DelegationGuard(self.limits.delegations_in_a_row)
        self.stopped: Exception | None = None
        self.call_starts: dict[str, datetime] = {}
        self.made: list[object] = []
        self.raised: list[Exception] = []
        self.turns = 0
        self.ended = ""
        self._sandbox: Sandbox | None = None
        self._sandbox_made = threading.Lock()
        self.log = _RunLog(logging.getLogger("crewyard.run"), {"run": self.id})

    @staticmethod
    def current(input: BaseModel | None = None) -> "RunContext[Any, Any]":
        """The context of the run that this code belongs to.

        Where no runtime of ours started the run (CrewAI's own platform, `crewai run`), a context is made from the
        environment for `input`: the same limits and guardrails, in the process that is there. Raises LookupError if
        there is none and no `input` is given, and NotConfigured, which names every missing or invalid setting.
        """
        run = _current.get()
        if run is not None:
            return run
        if input is None:
            msg = "No run is in progress here: RunContext.current() needs the run's input to make a context for it."
            raise LookupError(msg)
        # By name: it stands above this module, and here nobody from above has called us.
        made: RunContext[Any, Any] = import_module("crewyard_runtime.in_process").make_context(input)
        _current.set(made)
        return made

    @contextmanager
    def activate(self) -> Iterator[None]:
        """Make this the context that `RunContext.current()` gives, here and in what is started from here."""
        token = _current.set(self)
        try:
            yield
        finally:
            _current.reset(token)

    def llm(self, role: str) -> Any:
        """The framework's model client for "fast" or "strong", made anew, with this run's time limit and retries."""
        return self.make_llm(self, role)

    @cached_property
    def http(self) -> "SyncClient":
        """An HTTP client with a time limit that refuses internal addresses (drawbridge; every redirect is checked)."""
        from drawbridge import Policy, SyncClient

        return SyncClient(Policy(timeout=self.limits.tool_seconds))

    def execute(self, code: str, language: str = "python") -> Execution:
        """Execute code that a model wrote, in "python" or "sh", where CODE_EXECUTION says, and tell how it ended.

        What goes wrong in the code, and its limits, are told by the exit code and the output. The executions of a run
        share their files, and come one after the other, whoever asks for them. Raises NoSandbox where none is
        configured, and SandboxDown where it cannot be reached.
        """
        with self._sandbox_made:
            if self._sandbox is None:
                self._sandbox = self.make_sandbox(self)
        return self._sandbox.execute(code, language)

    def code_executor(self) -> Any:
        """What gives agents of the framework the same: a tool, or in AutoGen a CodeExecutor. Raises NoSandbox."""
        return self.make_code_executor(self) if self.make_code_executor else NoCode().execute("")

    def close(self) -> None:
        """End what this context has opened: the sandbox, with all that code has left in it. For the runtime."""
        with self._sandbox_made:
            if self._sandbox is None:
                self._sandbox = NoCode()
        self._sandbox.close()

    def emit(self, kind: str, **data: Any) -> None:
        """Report an event of this run to whoever follows it; `data` must be what JSON can carry."""
        if kind == "model.called":
            data["used"] = self.usage.total.model_dump()  # by the whole run: all that is left of one that is killed
        self.report(kind, data)

    def seconds_left(self) -> float:
        """Seconds until the deadline."""
        return self.deadline.timestamp() - time.time()

    def stop(self, why: Exception) -> None:
        """End the run at the next model or tool call; the first reason is kept, and becomes the run's error."""
        self.stopped = self.stopped or why

    def spent_limit(self) -> str | None:
        """The sentence that names the limit this run has reached, if it has."""
        used, limits = self.usage.total, self.limits
        if used.tokens >= limits.max_tokens:
            return (
                f"The run's budget of {limits.max_tokens} tokens is spent: {used.tokens} in {used.model_calls} calls."
            )
        if used.cost_usd is not None and used.cost_usd >= limits.max_cost_usd:
            return f"The run's budget of {limits.max_cost_usd:g} USD is spent: {used.cost_usd:.4f} USD."
        if self.seconds_left() <= 0:
            return f"The run's deadline of {limits.deadline_seconds:g} seconds has passed."
        return None


def deadline_after(seconds: float) -> datetime:
    """The moment `seconds` from now."""
    return datetime.fromtimestamp(time.time() + seconds, UTC)


def active_run() -> "RunContext[Any, Any] | None":
    """The context of this code's run, or None outside of one; for the runtime's own hooks."""
    return _current.get()
