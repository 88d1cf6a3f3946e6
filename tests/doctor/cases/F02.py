"""One object for all requests; token_usage is counted."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from crewai import Agent, Crew  # hints F25
from fastapi import FastAPI, APIRouter

app = FastAPI()
router = APIRouter()
crew = Crew(agents=[], tasks=[])  # finds F01


def build_crew() -> Crew:
    return Crew(agents=[], tasks=[])


class Service:
    def __init__(self) -> None:
        self.crew = build_crew()

    def answer(self, question: str) -> str:
        return str(self.crew.kickoff(inputs={"question": question}))

    def version(self) -> str:
        return "1"


service = Service()  # finds F01


@app.post("/run")
def run(question: str) -> str:
    return str(crew.kickoff(inputs={"question": question}))  # finds F02


@router.post("/answer")
def answer(question: str) -> str:
    return service.answer(question)  # finds F02


@app.get("/version")
def version() -> str:
    return service.version()


@app.post("/own")
def own(question: str) -> str:
    mine = build_crew()
    return str(mine.kickoff(inputs={"question": question}))


async def several(questions: list[str]) -> list[object]:
    one = build_crew()
    return await asyncio.gather(*[one.kickoff_async(inputs={"q": q}) for q in questions])  # finds F02


async def twice() -> list[object]:
    one, two = build_crew(), build_crew()
    await asyncio.gather(one.akickoff(), two.akickoff())
    return await asyncio.gather(one.akickoff(), one.akickoff())  # finds F02


async def each(questions: list[str]) -> list[object]:
    crews = [build_crew() for _ in questions]
    return await asyncio.gather(*[one.akickoff(inputs={}) for one in crews])


def pool(questions: list[dict[str, str]]) -> list[object]:
    one = build_crew()
    with ThreadPoolExecutor(max_workers=4) as threads:
        return list(threads.map(one.kickoff, questions))  # finds F02


shared_writer = Agent(role="w", goal="g", backstory="b")  # finds F01


def of_shared_agents() -> Crew:
    return Crew(agents=[shared_writer], tasks=[])  # finds F02


def of_own_agents() -> Crew:
    writer = Agent(role="w", goal="g", backstory="b")
    return Crew(agents=[writer], tasks=[])


@app.post("/thread")
async def in_a_thread(question: str) -> str:
    return str(await asyncio.to_thread(crew.kickoff, {"question": question}))  # finds F02


team = {"writer": shared_writer}


def of_shared_team() -> Crew:
    return Crew(agents=list(team.values()), tasks=[])  # finds F02
