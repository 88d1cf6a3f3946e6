"""The declaration of the investment desk. Imports no framework."""

from typing import Any

from crewyard_runtime import Application
from pydantic import BaseModel, RootModel


class Company(BaseModel):
    """Whom to look at."""

    company: str
    question: str = "Should we invest?"


class Recommendation(RootModel[dict[str, Any]]):
    """What `output_json` gives: a dict."""


application = Application(name="support", input=Company, output=Recommendation, build="my_crew.crew:build_crew")
