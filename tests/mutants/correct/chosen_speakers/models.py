"""A question, and any text."""

from pydantic import BaseModel, RootModel


class Question(BaseModel):
    """What a customer asks."""

    text: str


class Text(RootModel[str]):
    """The last words."""
