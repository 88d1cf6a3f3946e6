"""The commands of crewyard: what looks at a project from outside."""
