"""A text, and a report on it."""

from pydantic import BaseModel


class Text(BaseModel):
    """What is to be looked at."""

    text: str


class Report(BaseModel):
    """What two agents say, and a third makes of it."""

    facts: str
    tone: str
    summary: str
