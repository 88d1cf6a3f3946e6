"""Runs one application's agents in production; what a team's code may import stands in `__all__`."""

from crewyard_runtime.application import Application
from crewyard_runtime.context import RunContext
from crewyard_runtime.frameworks import quiet_frameworks
from crewyard_runtime.limits import RunLimits
from crewyard_runtime.settings import ApplicationSettings

__all__ = ["Application", "ApplicationSettings", "RunContext", "RunLimits", "quiet_frameworks"]
