"""The declaration of the lead desk. Imports no framework."""

from typing import Literal

from crewyard_runtime import Application
from pydantic import BaseModel, Field


class Lead(BaseModel):
    """Somebody who asked for an offer."""

    name: str
    message: str = Field(min_length=1)
    employees: int = Field(default=10, ge=1)


class Handled(BaseModel):
    """What was done about it."""

    way: Literal["call", "mail"]
    text: str
    notes: list[str] = []


application = Application(
    name="support", input=Lead, output=Handled, build="my_crew.crew:build_crew", examples="my_crew/leads.jsonl"
)
