"""A place where code that a model wrote is executed, for one run."""

from crewyard_runtime.sandbox.execution import Execution, NoSandbox, Sandbox, SandboxDown
from crewyard_runtime.sandbox.none import NoCode
from crewyard_runtime.sandbox.opening import open_sandbox

__all__ = ["Execution", "NoCode", "NoSandbox", "Sandbox", "SandboxDown", "open_sandbox"]
