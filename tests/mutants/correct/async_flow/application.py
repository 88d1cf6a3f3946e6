"""The declaration of the comparison. Imports no framework."""

from crewyard_runtime import Application
from pydantic import BaseModel


class Question(BaseModel):
    """What is to be compared."""

    first: str
    second: str
    question: str


class Comparison(BaseModel):
    """Both sides, and which is better."""

    sides: list[str]
    verdict: str


application = Application(name="support", input=Question, output=Comparison, build="my_crew.crew:build_crew")
