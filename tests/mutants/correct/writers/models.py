"""A topic, and any text."""

from pydantic import BaseModel, RootModel


class Topic(BaseModel):
    """What is to be written about."""

    title: str
    audience: str = "everybody"


class Text(RootModel[str]):
    """The text."""
