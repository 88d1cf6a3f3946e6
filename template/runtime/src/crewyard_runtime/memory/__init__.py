"""Memory of a run's user, outside the process."""

from crewyard_runtime.memory.none import NoMemory

__all__ = ["NoMemory"]
