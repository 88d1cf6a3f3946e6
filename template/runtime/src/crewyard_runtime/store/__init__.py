"""What is known about runs, in Postgres, the one truth: runs, attempts, events, keys, rates, webhooks, the audit."""

from crewyard_runtime.store.database import Database, SchemaBehind

__all__ = ["Database", "SchemaBehind"]
