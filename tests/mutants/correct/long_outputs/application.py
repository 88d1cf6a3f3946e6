"""The declaration of the reporters. Imports no framework."""

from crewyard_runtime import Application
from pydantic import BaseModel


class Subject(BaseModel):
    """What the report is about."""

    subject: str
    sections: int = 3


class Section(BaseModel):
    """A part of it."""

    title: str
    text: str


class Report(BaseModel):
    """All of it."""

    subject: str
    sections: list[Section]
    markdown: str


application = Application(
    name="support", input=Subject, output=Report, build="my_crew.crew:build_crew", examples="my_crew/subjects.jsonl"
)
