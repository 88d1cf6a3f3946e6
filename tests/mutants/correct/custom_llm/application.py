"""The declaration of the translator. Imports no framework."""

from crewyard_runtime import Application
from pydantic import BaseModel


class Text(BaseModel):
    """What is to be translated."""

    text: str
    language: str = "French"


class Translation(BaseModel):
    """The translation."""

    text: str


application = Application(name="support", input=Text, output=Translation, build="my_crew.crew:build_crew")
