"""The hierarchical process with a manager that CrewAI makes from a model."""
