"""One object for all requests, that a handler does not start by its name alone; token_usage is counted."""

import asyncio

import gradio as gr
from autogen import ConversableAgent
from autogen.agentchat import initiate_group_chat
from autogen.agentchat.group.patterns import AutoPattern
from channels.generic.websocket import AsyncWebsocketConsumer
from crewai import Crew, Task  # hints F25
from fastapi import BackgroundTasks, FastAPI, WebSocket

app = FastAPI()
helper = ConversableAgent(name="helper")  # finds F01
pattern = AutoPattern(initial_agent=helper, agents=[helper])  # finds F01
answers: asyncio.Queue[str] = asyncio.Queue()  # hints F13
jobs: asyncio.Queue[str] = asyncio.Queue()  # hints F13
db: dict[str, dict[str, object]] = {"crews": {}, "runs": {}}
limits = {"crews": {"largest": 3}}
CREW = None


def build_crew() -> Crew:
    return Crew(agents=[], tasks=[])


@app.on_event("startup")
def startup() -> None:
    global CREW
    CREW = build_crew()  # finds F01


@app.post("/run")
def run(topic: str) -> str:
    return str(CREW.kickoff(inputs={"topic": topic}))  # finds F02


def job(topic: str) -> None:
    CREW.kickoff(inputs={"topic": topic})  # finds F02


@app.post("/job")
def start(topic: str, later: BackgroundTasks) -> None:
    later.add_task(job, topic)  # finds F19


@app.websocket("/ws")
async def talk(socket: WebSocket) -> None:
    initiate_group_chat(pattern=pattern, messages=await socket.receive_text())  # finds F02 F12
    await socket.send_text(await answers.get())  # finds F10


@app.websocket("/own")
async def own(socket: WebSocket) -> None:
    mine: asyncio.Queue[str] = asyncio.Queue()
    await jobs.put(await socket.receive_text())
    await socket.send_text(await mine.get())


@app.post("/crews")
def save(name: str) -> int:
    db["crews"][name] = name  # finds F10
    return limits["crews"]["largest"]


class Chat(AsyncWebsocketConsumer):
    async def receive(self, text_data: str) -> None:
        user = ConversableAgent(name="user")
        user.initiate_chat(helper, message=text_data)  # finds F02 F12
        user.initiate_chat(ConversableAgent(name="own"), message=text_data)  # finds F12


def shown(topic: str) -> str:
    return str(CREW.kickoff(inputs={"topic": topic}))  # finds F02


def not_shown(topic: str) -> str:
    return str(CREW.kickoff(inputs={"topic": topic}))


with gr.Blocks() as demo:
    gr.Button("Run").click(fn=shown)


async def old_task(topic: str) -> None:
    task = Task(description=topic, expected_output="e")
    task.execute()  # finds F12
