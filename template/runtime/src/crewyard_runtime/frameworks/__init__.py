"""The agent frameworks: one module each, the only places that import one. This one imports none."""

import os
from importlib import import_module
from typing import Any, Protocol

from crewyard_runtime.application import Application
from crewyard_runtime.context import RunContext
from crewyard_runtime.settings import RuntimeSettings

# Each, and the packages that code of its users imports; the first must be installed for it.
FRAMEWORKS: dict[str, tuple[str, ...]] = {
    "crewai": ("crewai",),
    "autogen": ("autogen",),
    "agentchat": ("autogen_agentchat", "autogen_core", "autogen_ext"),
    "agent-framework": ("agent_framework",),
    "plain": (),
}

# Without these a framework, or Mem0, reports to its makers, asks questions on a terminal, takes over signal handlers,
# and waits seconds for a closed network at exit. OTEL_SDK_DISABLED would silence our own telemetry too: it is not used.
QUIET = {
    "CREWAI_DISABLE_TELEMETRY": "true",
    "CREWAI_TRACING_ENABLED": "false",
    "CREWAI_DISABLE_VERSION_CHECK": "true",
    "MEM0_TELEMETRY": "False",
    "AUTOGEN_DISABLE_RUNTIME_TRACING": "true",
    "AGENT_FRAMEWORK_USER_AGENT_DISABLED": "true",
}


# Where a framework keeps files of its own accord (CrewAI: the outputs of the latest kickoff); they end with the run.
STORAGE_VARIABLES = ("CREWAI_STORAGE_DIR",)


class Framework(Protocol):
    """What a framework's module gives. Importing it imports all that its runs import, lazily too."""

    TYPED: str

    def install_hooks(self) -> None:
        """Register what holds the limits, once a process; outside of a run it does nothing."""

    def build(self, application: Application, run: RunContext[Any, Any]) -> Any:
        """Call the build function and check what it made. Raises BuildRefused, naming the agent and the limit."""

    def kick_off(self, built: Any, run: RunContext[Any, Any]) -> Any:
        """Run what was built and return the framework's own result."""

    def plain_result(self, result: Any) -> Any:
        """The framework's result as something that the output model can validate."""

    def make_llm(self, run: RunContext[Any, Any], settings: RuntimeSettings, role: str) -> Any:
        """A model client for one run."""

    def make_code_executor(self, run: RunContext[Any, Any]) -> Any:
        """What lets agents execute code in the sandbox of one run."""


def framework_module(name: str) -> str:
    """The name of the module that knows a framework."""
    return f"crewyard_runtime.frameworks.{name.replace('-', '_')}"


def load_framework(name: str) -> Framework:
    """Import the module of a framework, and by it the framework: seconds the first time in a process."""
    module: Any = import_module(framework_module(name))
    return module  # type: ignore[no-any-return]


def quiet_frameworks() -> None:
    """Turn a framework's telemetry and questions off where no variable says otherwise; call before importing one."""
    for variable, value in QUIET.items():
        os.environ.setdefault(variable, value)
