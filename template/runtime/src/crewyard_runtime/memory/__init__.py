"""Memory of a run's user, outside the process."""

from crewyard_runtime.memory.known import KnownFacts
from crewyard_runtime.memory.no_secrets import may_remember
from crewyard_runtime.memory.none import NoMemory
from crewyard_runtime.memory.records import Memory, Remembered

__all__ = ["KnownFacts", "Memory", "NoMemory", "Remembered", "may_remember"]
