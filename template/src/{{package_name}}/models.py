"""What goes in, what comes out, what the agents hand to each other. Imports no framework: a gateway loads it too."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Ticket(BaseModel):
    """A customer's message."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    subject: str = Field(min_length=1, max_length=200)
    body: str = Field(min_length=1, max_length=20_000)
    plan: Literal["free", "pro", "team"] = "free"


class Triage(BaseModel):
    """What the ticket is about, by the triage agent."""

    category: Literal["billing", "account", "sync", "privacy", "other"]
    urgency: Literal["low", "normal", "high"]
    summary: str = Field(max_length=300)


class Draft(BaseModel):
    """An answer to the customer, by the resolving agent."""

    body: str = Field(min_length=1, max_length=1_500)
    articles: list[str] = Field(max_length=5, description="titles of the knowledge base articles the answer rests on")
    answers_the_question: bool


class Reply(BaseModel):
    """What the run gives back: the answer, and whether a person has to look at it before it is sent."""

    body: str
    articles: list[str]
    category: str
    handled_by: Literal["agents", "person"]
