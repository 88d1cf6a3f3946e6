"""Memory: whose it is, and where it is kept."""

import sqlite3

import chromadb  # hints F25
from crewai import Crew
from crewai.flow import Flow
from crewai.flow.persistence import persist
from crewai.memory import Memory
from fastapi import FastAPI
from langchain_chroma import Chroma
from mem0 import MemoryClient

app = FastAPI()
store = MemoryClient()


def crews(user: str) -> list[Crew]:
    return [
        Crew(agents=[], tasks=[], memory=True),  # finds F14 F15
        Crew(agents=[], tasks=[], memory=Memory()),  # finds F14
        Crew(agents=[], tasks=[], memory=Memory(root_scope=f"/user/{user}")),
        Crew(agents=[], tasks=[], memory=False),
        Crew(agents=[], tasks=[]),
    ]


def remember(text: str, user: str) -> None:
    store.add(text)  # finds F14
    store.add(text, user_id="default_user")  # finds F14
    store.add(text, user_id=user)
    store.search(text)  # finds F14
    store.search(text, filters={"user_id": user})
    seen: set[str] = set()
    seen.add(text)


def stores(path: str) -> list[object]:
    return [
        chromadb.PersistentClient(path="./chroma"),  # finds F15
        chromadb.PersistentClient(path=path),  # hints F15
        chromadb.HttpClient(host="chroma"),
        Chroma(persist_directory="db"),  # finds F15
        sqlite3.connect("runs.db"),  # finds F15
        sqlite3.connect(":memory:"),
        sqlite3.connect(path),
    ]


@persist()  # finds F15
class Review(Flow):
    pass


@persist(object())
class Kept(Flow):
    pass
