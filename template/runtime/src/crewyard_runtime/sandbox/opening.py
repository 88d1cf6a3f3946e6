"""From the settings to the sandbox of one run."""

from datetime import datetime
from pathlib import Path

from crewyard_runtime.limits import RunLimits
from crewyard_runtime.sandbox.docker import DockerSandbox
from crewyard_runtime.sandbox.execution import Sandbox
from crewyard_runtime.sandbox.local import LocalSandbox
from crewyard_runtime.sandbox.none import NoCode
from crewyard_runtime.settings import RuntimeSettings


def open_sandbox(settings: RuntimeSettings, limits: RunLimits, workspace: Path, deadline: datetime) -> Sandbox:
    """The sandbox of a run; nothing is started before its first execution.

    workspace: the run's own directory, which is there. deadline: when what was started ends by itself.
    """
    if settings.code_execution == "docker":
        return DockerSandbox(settings, limits, workspace, deadline)
    if settings.code_execution == "local":
        return LocalSandbox(limits, workspace)
    return NoCode()
