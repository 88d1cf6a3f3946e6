"""One agent, one task, no tool, no schema, and an input without a text."""
