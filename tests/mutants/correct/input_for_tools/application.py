"""The declaration of the order desk. Imports no framework."""

from crewyard_runtime import Application
from pydantic import BaseModel, Field


class Order(BaseModel):
    """What a shop system sends: a key of its own, and a number of pieces."""

    key: str = Field(min_length=1, max_length=200)
    pieces: int = Field(ge=1, le=1_000)


class Status(BaseModel):
    """What is told to the customer."""

    text: str
    delayed: bool


application = Application(name="support", input=Order, output=Status, build="my_crew.crew:build_crew")
