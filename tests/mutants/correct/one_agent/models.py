"""A question, and an answer."""

from pydantic import BaseModel


class Question(BaseModel):
    """What a customer asks."""

    text: str
    language: str = "English"


class Answer(BaseModel):
    """What the agent says."""

    text: str
    sources: list[str]
