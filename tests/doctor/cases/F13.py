"""What belongs to an event loop."""

import asyncio
import threading

import aiohttp
import crewai
import httpx
from openai import AsyncOpenAI, OpenAI

lock = asyncio.Lock()  # hints F13
client = httpx.AsyncClient()  # finds F13
model = AsyncOpenAI()  # hints F01 finds F13
plain = threading.Lock()
sync = httpx.Client()


class Gateway:
    session = aiohttp.ClientSession()  # finds F13

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.client = httpx.AsyncClient()


async def work() -> None:
    async with httpx.AsyncClient() as own:
        await own.get("https://example.org")


async def nested() -> None:
    asyncio.run(work())  # finds F13


def outside() -> OpenAI:
    asyncio.run(work())
    return OpenAI()


def version() -> str:
    return str(crewai.__version__)
