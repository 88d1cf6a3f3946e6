"""Histories."""

from crewai import Agent
from openai import OpenAI


def agents() -> list[Agent]:
    return [
        Agent(role="r", goal="g", backstory="b", respect_context_window=False),  # finds F11
        Agent(role="r", goal="g", backstory="b", respect_context_window=True),
    ]


def chat(client: OpenAI) -> None:
    messages: list[dict[str, str]] = []
    while True:
        messages.append({"role": "user", "content": input()})
        client.chat.completions.create(model="m", messages=messages)  # hints F11


def cut(client: OpenAI) -> None:
    messages: list[dict[str, str]] = []
    while True:
        messages.append({"role": "user", "content": input()})
        messages = messages[-20:]
        client.chat.completions.create(model="m", messages=messages)


def once(client: OpenAI) -> None:
    messages = [{"role": "user", "content": "hello"}]
    client.chat.completions.create(model="m", messages=messages)
