"""No framework: the build function returns a function without arguments, and what that returns is the result.

For what needs no agents, and for tests of the platform that must not wait for a framework to load.
"""

from collections.abc import Callable
from typing import Any

from crewyard_runtime.application import Application
from crewyard_runtime.context import RunContext
from crewyard_runtime.settings import RuntimeSettings

# There is no agent that could be told to answer in a model.
TYPED = "it returns a {}"


def install_hooks() -> None:
    """There is nothing to hook into."""


def build(application: Application, run: RunContext[Any, Any]) -> Callable[[], Any]:
    """Call the build function."""
    made: Callable[[], Any] = application.load_build()(run)
    return made


def kick_off(built: Callable[[], Any], run: RunContext[Any, Any]) -> Any:
    """Call what was built."""
    return built()


def plain_result(result: Any) -> Any:
    """The result is plain already."""
    return result


def make_llm(run: RunContext[Any, Any], settings: RuntimeSettings, role: str) -> Any:
    """Raises LookupError: a model client belongs to a framework."""
    msg = 'run.llm() needs a framework, and this project has framework = "plain".'
    raise LookupError(msg)


def make_code_executor(run: RunContext[Any, Any]) -> Callable[..., Any]:
    """The run's own: there are no agents."""
    return run.execute
