"""What is kept on modules and classes; token_usage is counted."""

from functools import lru_cache
from typing import ClassVar

from crewai import Crew  # hints F25
from crewai.tools import BaseTool, tool
from fastapi import FastAPI

app = FastAPI()
jobs: dict[str, object] = {}
seen: list[str] = []
registry: dict[str, object] = {}
PRICES = {"gpt-4o": 1.0}
count = 0
_client = None


class NoteTool(BaseTool):
    name: str = "note"
    notes: ClassVar[list[str]] = []
    mine: list[str] = []

    def _run(self, text: str) -> str:
        NoteTool.notes.append(text)  # finds F10
        self.mine.append(text)
        return text


class Collector:
    found = []

    def __init__(self) -> None:
        self.own: list[str] = []


class PlainTool(BaseTool):
    name: str = "plain"

    def _run(self, text: str) -> str:
        seen.append(text)  # finds F10
        local: list[str] = []
        local.append(text)
        return text


@tool("Count")
def counter(text: str) -> str:
    """Count."""
    global count
    count += 1  # finds F10
    return text


@tool("Load")
def loader(text: str) -> str:
    """Load a client once."""
    global _client
    if _client is None:
        _client = object()
    return text


@tool("Cached")
@lru_cache
def cached(text: str) -> str:  # finds F10
    """Keep answers."""
    return text


@app.post("/jobs")
def start(job: str) -> str:
    jobs[job] = {"status": "pending"}  # finds F10
    return job


@app.get("/jobs")
def read(job: str) -> object:
    return jobs.get(job, PRICES["gpt-4o"])


def register(function: object) -> object:
    registry[str(function)] = function
    return function


def run(job: str) -> None:
    jobs[job] = Crew(agents=[], tasks=[]).kickoff()  # finds F10
