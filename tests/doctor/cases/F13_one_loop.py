"""Clients that connect at their first call, in a service with one event loop; token_usage is counted."""

import aiohttp
import crewai
import httpx
from openai import AsyncOpenAI

client = httpx.AsyncClient()  # hints F13
model = AsyncOpenAI()  # hints F01 F13
session = aiohttp.ClientSession()  # finds F13


async def version() -> str:
    return str(crewai.__version__)
