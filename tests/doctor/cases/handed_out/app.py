"""Handlers that use what a function hands out."""

import asyncio

from answers import answer, answer_alone
from fastapi import FastAPI
from teams import build_team, get_team

app = FastAPI()


@app.post("/shared")
async def shared(question: str) -> str:
    team = get_team()
    return str(await team.run(task=question))  # finds F02


@app.post("/own")
async def own(question: str) -> str:
    team = build_team()
    return str(await team.run(task=question))


async def process(question: str) -> str:
    return await answer(question) + await answer_alone(question)


@app.post("/below")
async def below(question: str) -> str:
    return await asyncio.create_task(process(question))
