"""The declaration of the reporting crew. Imports no framework."""

from crewyard_runtime import Application
from pydantic import BaseModel


class Inputs(BaseModel):
    """What `crewai create` asks for."""

    topic: str
    current_year: str = "2026"


class Report(BaseModel):
    """The report."""

    title: str
    body: str


application = Application(name="support", input=Inputs, output=Report, build="my_crew.crew:build_crew")
