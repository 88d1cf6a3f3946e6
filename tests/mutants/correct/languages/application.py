"""Die Anmeldung der Anwendung. Imports no framework."""

from crewyard_runtime import Application
from pydantic import BaseModel, Field


class Anfrage(BaseModel):
    """Was gefragt wird, mit Umlauten und Kanji."""

    frage: str = Field(description="die Frage auf Deutsch")
    質問: str = Field(description="日本語の質問")


class Antwort(BaseModel):
    """Beide Antworten."""

    deutsch: str
    日本語: str


application = Application(
    name="support", input=Anfrage, output=Antwort, build="my_crew.crew:build_crew", examples="my_crew/fragen.jsonl"
)
