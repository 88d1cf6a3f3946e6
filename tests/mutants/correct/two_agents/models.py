"""A question, and an answer."""

from pydantic import BaseModel


class Question(BaseModel):
    """What a customer asks."""

    text: str


class Answer(BaseModel):
    """What the assistant says."""

    text: str
