# ruff: noqa: RUF001 - signs of other languages are what this crew is about
"""Ein deutscher und ein japanischer Agent."""

from crewai import Agent, Crew, Task
from crewai.tools import BaseTool, tool
from crewyard_runtime import ApplicationSettings, RunContext
from pydantic import BaseModel, Field

from .application import Anfrage, Antwort

MASSE = {"Schachtel": "30 × 20 × 15 cm", "Tüte": "½ l", "箱": "三十センチ"}


class Suche(BaseModel):
    """Was das Werkzeug nimmt."""

    stichwort: str = Field(description="ein Stichwort, zum Beispiel „Schachtel“")


class Nachschlagen(BaseTool):
    """Schlägt Maße nach."""

    name: str = "maße_nachschlagen"
    description: str = "Schlägt die Maße eines Gegenstands nach (Länge × Breite × Höhe)."
    args_schema: type[BaseModel] = Suche

    def _run(self, stichwort: str) -> str:
        return MASSE.get(stichwort, "Darüber weiß ich nichts – bitte „Schachtel“ oder „Tüte“ fragen.")


def zaehlen() -> BaseTool:
    """Ein Werkzeug aus einer Funktion."""

    @tool("count_characters")
    def count(text: str) -> str:
        """文章の文字数を数えます。"""
        return f"{len(text)}文字です。"

    return count


def build_crew(run: RunContext[ApplicationSettings, Anfrage]) -> Crew:
    """Alles entsteht für einen Lauf."""
    deutsch = Agent(
        role="Kundenbetreuer für Süßwaren",
        goal="Beantworte jede Frage höflich und genau",
        backstory="Du arbeitest seit 20 Jahren in der Geschäftsstelle in Köln.",
        llm=run.llm("fast"),
        tools=[Nachschlagen()],
        max_iter=run.limits.max_iter,
    )
    japanisch = Agent(
        role="カスタマーサポート担当",
        goal="お客様の質問に丁寧に答える",
        backstory="あなたは十年の経験があるサポート担当者です。",
        llm=run.llm("strong"),
        tools=[zaehlen()],
        max_iter=run.limits.max_iter,
    )
    antworten = Task(
        description="Beantworte diese Frage auf Deutsch: {frage}",
        expected_output="Zwei höfliche Sätze.",
        agent=deutsch,
    )
    kotae = Task(
        description="次の質問に日本語で答えてください: " + run.input.質問,
        expected_output="両方の言語の答え。",
        agent=japanisch,
        context=[antworten],
        output_pydantic=Antwort,
    )
    return Crew(agents=[deutsch, japanisch], tasks=[antworten, kotae])
