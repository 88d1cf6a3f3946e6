"""The static check of a CrewAI or AutoGen project: it reads the files and imports nothing."""
