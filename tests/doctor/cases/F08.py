"""What goes on without a limit; token_usage is counted."""

import time

import backoff
import httpx
import requests
from autogen_agentchat.conditions import MaxMessageTermination
from autogen_agentchat.teams import RoundRobinGroupChat, SelectorGroupChat
from crewai import LLM, Agent, Crew
from crewai.tools import tool
from tenacity import retry, stop_after_attempt

TIMES = 500


def team(agents: list[object], client: object) -> None:
    RoundRobinGroupChat(agents)  # finds F08
    SelectorGroupChat(agents, model_client=client, termination_condition=None)  # finds F08
    RoundRobinGroupChat(agents, max_turns=10)
    RoundRobinGroupChat(agents, termination_condition=MaxMessageTermination(10))


def agent() -> list[object]:
    return [
        Agent(role="r", goal="g", backstory="b", max_iter=1000),  # finds F08
        Agent(role="r", goal="g", backstory="b", max_iter=TIMES),  # finds F08
        Agent(role="r", goal="g", backstory="b", max_iter=15),
        LLM(model="m", timeout=None),  # finds F08
        LLM(model="m", timeout=60),
    ]


@retry  # finds F08
def again() -> None:
    raise ValueError


@retry(stop=stop_after_attempt(3))
def three_times() -> None:
    raise ValueError


@backoff.on_exception(backoff.expo, ValueError)  # finds F08
def back() -> None:
    raise ValueError


@backoff.on_exception(backoff.expo, ValueError, max_tries=3)
def back_a_little() -> None:
    raise ValueError


@tool("Fetch")
def fetch(path: str) -> str:
    """Fetch a page."""
    return requests.get(f"https://example.org/{path}").text  # finds F08


@tool("Fetch in time")
def fetch_in_time(path: str) -> str:
    """Fetch a page."""
    httpx.get(f"https://example.org/{path}")
    return requests.get(f"https://example.org/{path}", timeout=10).text


def elsewhere() -> str:
    httpx.get("https://example.org", timeout=None)  # hints F08
    return requests.get("https://example.org").text  # hints F08


def for_ever(crew: Crew) -> object:
    while True:  # finds F08
        try:
            return crew.kickoff()
        except Exception:  # finds F18
            time.sleep(1)


def a_few_times(crew: Crew) -> object:
    for _ in range(3):
        try:
            return crew.kickoff()
        except TimeoutError:
            time.sleep(1)
    raise TimeoutError


def chat(crew: Crew) -> None:
    while True:
        try:
            crew.kickoff(inputs={"question": input()})
        except KeyboardInterrupt:
            break


def calls_itself(crew: Crew) -> object:
    try:
        return crew.kickoff()
    except TimeoutError:
        return calls_itself(crew)  # finds F08


def counts(crew: Crew, retries: int = 3) -> object:
    try:
        return crew.kickoff()
    except TimeoutError:
        return counts(crew, retries - 1)


def worker(crew: Crew, queue: object) -> None:
    while True:
        question = queue.get()
        try:
            crew.kickoff(inputs={"question": question})
        except TimeoutError:
            print("too late")


def with_default(crew: Crew, topic: str) -> object:
    try:
        return crew.kickoff(inputs={"topic": topic})
    except ValueError:
        return with_default(crew, "agents")


def decides(crew: Crew) -> object:
    try:
        return crew.kickoff()
    except TimeoutError as error:
        if "stop" in str(error):
            return decides(crew)
        raise
