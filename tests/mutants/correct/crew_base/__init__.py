"""The class that crewai create makes, with its two YAML files."""
