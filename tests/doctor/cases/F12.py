"""What blocks the event loop; token_usage is counted."""

import asyncio
import sqlite3
import subprocess
import time

import requests
from crewai import Crew  # hints F25
from fastapi import FastAPI
from openai import AsyncOpenAI, OpenAI

app = FastAPI()


def build_crew() -> Crew:
    return Crew(agents=[], tasks=[])


def run_crew(topic: str) -> str:
    return str(build_crew().kickoff(inputs={"topic": topic}))


class Service:
    def execute(self, topic: str) -> str:
        return run_crew(topic)


@app.post("/run")
async def run(topic: str) -> str:
    return str(build_crew().kickoff(inputs={"topic": topic}))  # finds F12


@app.post("/below")
async def below(topic: str) -> str:
    service = Service()
    service.execute(topic)  # finds F12
    return run_crew(topic)  # finds F12


@app.post("/fine")
async def fine(topic: str) -> str:
    await build_crew().akickoff(inputs={"topic": topic})
    return await asyncio.to_thread(run_crew, topic)


@app.post("/loop")
async def in_loop(topic: str) -> str:
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(None, lambda: run_crew(topic))


@app.post("/plain")
def plain(topic: str) -> str:
    time.sleep(1)
    return run_crew(topic)


async def waits() -> None:
    time.sleep(1)  # finds F12
    requests.get("https://example.org", timeout=1)  # finds F12
    subprocess.run(["ls"])  # finds F12
    sqlite3.connect(":memory:")  # finds F12
    await asyncio.sleep(1)


async def models() -> None:
    client = OpenAI()
    client.chat.completions.create(model="m", messages=[])  # finds F12
    other = AsyncOpenAI()
    await other.chat.completions.create(model="m", messages=[])


async def reads() -> str:
    with open("prompt.txt") as file:  # hints F12
        return file.read()
