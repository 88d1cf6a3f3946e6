"""The declaration of the project team. Imports no framework."""

from crewyard_runtime import Application
from pydantic import BaseModel


class Project(BaseModel):
    """What is to be planned."""

    project: str
    industry: str
    weeks: int = 6


class Plan(BaseModel):
    """The manager's last word."""

    summary: str
    milestones: list[str]


application = Application(name="support", input=Project, output=Plan, build="my_crew.crew:build_crew")
