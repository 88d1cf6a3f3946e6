"""What the state of a flow may hold."""

import sqlite3
import threading

import httpx
from crewai import Agent
from crewai.flow import Flow, start
from pydantic import BaseModel, ConfigDict
from sqlalchemy.orm import Session


class State(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)  # hints F06
    id: str = ""
    topic: str = ""
    guard: threading.Lock | None = None  # finds F06
    session: Session | None = None  # finds F06
    writer: Agent | None = None  # finds F06
    drafts: list[str] = []


class Review(Flow[State]):
    @start()
    def begin(self) -> None:
        self.state.database = sqlite3.connect(":memory:")  # finds F06
        self.state.topic = "agents"
        connection = sqlite3.connect(":memory:")
        self.state.drafts = [str(connection)]
        self.client = httpx.Client()


class Helper(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    guard: threading.Lock | None = None
