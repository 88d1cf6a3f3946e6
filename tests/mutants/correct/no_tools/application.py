"""The declaration of the explainer. Imports no framework."""

from crewyard_runtime import Application
from pydantic import BaseModel, Field, RootModel


class Sample(BaseModel):
    """Numbers alone."""

    threshold: float = Field(ge=0, le=100)
    values: list[int] = Field(min_length=1, max_length=50)


class Explanation(RootModel[str]):
    """A text."""


application = Application(name="support", input=Sample, output=Explanation, build="my_crew.crew:build_crew")
