"""The declaration of the code reviewers. Imports no framework."""

from crewyard_runtime import Application
from pydantic import BaseModel


class Change(BaseModel):
    """What is to be reviewed."""

    title: str
    diff: str


class Review(BaseModel):
    """The verdict."""

    approved: bool
    comments: list[str]


application = Application(name="support", input=Change, output=Review, build="my_crew.crew:build_crew")
