"""How runs are started; token_usage is counted."""

import asyncio
import threading

from celery import Celery
from crewai import Crew  # hints F25
from fastapi import BackgroundTasks, FastAPI

app = FastAPI()
queue = Celery("app")


def run_crew(topic: str) -> None:
    Crew(agents=[], tasks=[]).kickoff(inputs={"topic": topic})


def mail(address: str) -> None:
    print(address)


@app.post("/background")
def background(topic: str, tasks: BackgroundTasks) -> None:
    tasks.add_task(run_crew, topic)  # finds F19
    tasks.add_task(mail, topic)


@app.post("/thread")
def thread(topic: str) -> None:
    threading.Thread(target=run_crew, args=(topic,)).start()  # finds F19
    threading.Thread(target=mail, args=(topic,)).start()


@app.post("/task")
async def task(topic: str) -> None:
    async def work() -> None:
        await Crew(agents=[], tasks=[]).akickoff()

    asyncio.create_task(work())  # finds F19
    asyncio.create_task(asyncio.sleep(1))


@app.post("/queue")
def enqueue(topic: str) -> None:
    queued.delay(topic)


@queue.task
def queued(topic: str) -> None:  # finds F19
    run_crew(topic)


@queue.task
def other(topic: str) -> None:
    mail(topic)


def worker(topic: str) -> None:
    threading.Thread(target=run_crew, args=(topic,)).start()  # hints F19


async def in_a_thread(topic: str) -> None:
    crew = Crew(agents=[], tasks=[])
    await asyncio.to_thread(crew.kickoff, {"topic": topic})


@app.post("/later")
async def later(topic: str, tasks: BackgroundTasks) -> None:
    tasks.add_task(in_a_thread, topic)  # finds F19


async def by_a_function(topic: str) -> None:
    await asyncio.to_thread(run_crew, topic)


@app.post("/by-a-function")
async def later_by_a_function(topic: str, tasks: BackgroundTasks) -> None:
    tasks.add_task(by_a_function, topic)  # finds F19
