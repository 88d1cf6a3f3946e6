"""Tools that await what they wait for."""

import asyncio

import httpx
from crewai.tools import BaseTool, tool
from pydantic import BaseModel, Field

SOURCES = ("manual", "forum", "changelog")


class Lookup(BaseModel):
    """The arguments."""

    subject: str = Field(max_length=500)


class LookUpSources(BaseTool):
    """Asks several sources at the same time."""

    name: str = "look_up_sources"
    description: str = "Look a subject up in the manual, the forum and the change log."
    args_schema: type[BaseModel] = Lookup

    async def _run(self, subject: str) -> str:
        return "\n".join(await asyncio.gather(*(self._ask(source, subject) for source in SOURCES)))

    async def _ask(self, source: str, subject: str) -> str:
        await asyncio.sleep(0.01)
        return f"The {source} says little about {len(subject.split())} words."


class Models(BaseTool):
    """Asks a server, by an async client that is made and closed in the call."""

    name: str = "list_models"
    description: str = "List the models that could answer."
    base_url: str

    def _run(self) -> str:
        return asyncio.run(self._arun())

    async def _arun(self) -> str:
        async with httpx.AsyncClient(timeout=5) as client:
            answer = await client.get(f"{self.base_url}/models", headers={"Authorization": "Bearer none"})
        return ", ".join(model["id"] for model in answer.json()["data"])


def make_counter() -> BaseTool:
    """A tool of one run, with a coroutine function in it."""

    @tool("count_words")
    async def count_words(text: str) -> str:
        """Count the words of a text."""
        words = await asyncio.to_thread(str.split, text)
        return f"{len(words)} words"

    return count_words
