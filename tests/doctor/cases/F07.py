"""Threads that tools start."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

from crewai.tools import BaseTool, tool


class FetchTool(BaseTool):
    name: str = "fetch"

    def _run(self, pages: list[str]) -> str:
        with ThreadPoolExecutor() as pool:  # finds F07
            return str(list(pool.map(str, pages)))


@tool("Many")
def many(pages: list[str]) -> str:
    """Read many pages."""
    with ThreadPoolExecutor(max_workers=64) as pool:  # finds F07
        list(pool.map(str, pages))
    for page in pages:
        threading.Thread(target=print, args=(page,)).start()  # finds F07
    return ""


@tool("Few")
def few(pages: list[str]) -> str:
    """Read a few pages."""
    with ThreadPoolExecutor(max_workers=4) as pool:
        return str(list(pool.map(str, pages)))


@tool("Gather")
async def gather(pages: list[str]) -> str:
    """Read pages at once."""
    await asyncio.gather(asyncio.sleep(0), asyncio.sleep(0))
    return str(await asyncio.gather(*[asyncio.sleep(0) for _ in pages]))  # hints F07


def elsewhere(pages: list[str]) -> list[str]:
    with ThreadPoolExecutor() as pool:  # hints F07
        return list(pool.map(str, pages))


def positional(pages: list[str]) -> list[str]:
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(str, pages))


def watch() -> None:
    threading.Thread(target=print).start()
