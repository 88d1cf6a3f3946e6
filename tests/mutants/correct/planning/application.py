"""The declaration of the event planners. Imports no framework."""

from crewyard_runtime import Application
from pydantic import BaseModel, Field


class Event(BaseModel):
    """What is to be organised."""

    city: str
    event: str
    participants: int = Field(default=50, ge=1)


class Invitation(BaseModel):
    """What the participants get."""

    subject: str
    body: str


application = Application(name="support", input=Event, output=Invitation, build="my_crew.crew:build_crew")
