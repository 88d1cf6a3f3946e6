"""The declaration of the shop's assistant. Imports no framework."""

from crewyard_runtime import Application
from pydantic import BaseModel, Field


class Order(BaseModel):
    """What a customer asks about an order."""

    order: str = Field(pattern=r"^[A-Z]{2}-[0-9]{4}$")
    question: str
    country: str = Field(default="de", min_length=2, max_length=2)


class Answer(BaseModel):
    """What the customer is told."""

    text: str
    sources: list[str]


application = Application(
    name="support", input=Order, output=Answer, build="my_crew.crew:build_crew", examples="my_crew/orders.jsonl"
)
