"""The declaration of the writers. Imports no framework."""

from crewyard_runtime import Application
from pydantic import BaseModel, Field


class Topic(BaseModel):
    """What to write about."""

    topic: str = Field(min_length=1, max_length=2_000)
    audience: str = "engineers"


class Article(BaseModel):
    """What is published."""

    text: str


application = Application(name="support", input=Topic, output=Article, build="my_crew.crew:build_crew")
