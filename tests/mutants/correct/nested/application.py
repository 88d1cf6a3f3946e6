"""The declaration of the travel desk. Imports no framework."""

import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Literal
from uuid import UUID

from crewyard_runtime import Application
from pydantic import BaseModel, ConfigDict, Field


class Mood(StrEnum):
    """What kind of journey it is."""

    CALM = "calm"
    WILD = "wild"


class Traveller(BaseModel):
    """Who travels."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=80)
    born: datetime.date
    passport: UUID | None = None


class Journey(BaseModel):
    """What is asked for."""

    travellers: list[Traveller] = Field(min_length=1, max_length=8)
    wishes: dict[str, str] = {}
    mood: Mood = Mood.CALM
    budget: Decimal = Field(default=Decimal(1000), ge=0, max_digits=8, decimal_places=2)
    departs: datetime.datetime | None = None


class Train(BaseModel):
    """A leg by train."""

    kind: Literal["train"]
    number: str = Field(pattern=r"^[A-Z]{1,3} ?[0-9]{1,5}$")
    seats: list[int]


class Flight(BaseModel):
    """A leg by air."""

    kind: Literal["flight"]
    code: str = Field(min_length=3, max_length=8)
    luggage: bool


class Day(BaseModel):
    """One day."""

    date: datetime.date
    legs: list[Annotated[Train | Flight, Field(discriminator="kind")]]
    hotel: str | None = None
    link: str | None = Field(default=None, pattern=r"^https://")
    notes: list[str] = Field(max_length=5)


class Itinerary(BaseModel):
    """What the travellers get."""

    title: str
    days: list[Day] = Field(min_length=1)
    mood: Mood
    costs: dict[str, float]
    warnings: tuple[str, ...] = ()
    rating: int | float | None = None


application = Application(name="support", input=Journey, output=Itinerary, build="my_crew.crew:build_crew")
