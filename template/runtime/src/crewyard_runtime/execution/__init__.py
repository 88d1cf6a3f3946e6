"""One run in its own process: from a request to an outcome."""

from crewyard_runtime.execution.control import LeasedControl, RunControl
from crewyard_runtime.execution.messages import Outcome, RunRequest
from crewyard_runtime.execution.runner import Runner, RunnerNotReady

__all__ = ["LeasedControl", "Outcome", "RunControl", "RunRequest", "Runner", "RunnerNotReady"]
