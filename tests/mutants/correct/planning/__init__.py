"""Planning, guardrails, callbacks and a task that is done only if it is needed."""
