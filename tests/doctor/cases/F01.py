"""What is made at import, in a cache or as a singleton; all token_usage is counted."""

import functools
from functools import lru_cache

import autogen
import crewai
from autogen_agentchat.conditions import TextMentionTermination
from autogen_ext.models.openai import OpenAIChatCompletionClient
from crewai import Agent as Worker
from crewai import Crew, Task
from crewai.project import CrewBase, agent, crew
from crewai.tools import BaseTool, tool
from crewai_tools import SerperDevTool
from langchain_core.prompts import ChatPromptTemplate
from langchain_openai import ChatOpenAI
from openai import OpenAI

llm = ChatOpenAI(model="gpt-4o-mini")  # finds F01
researcher = Worker(role="r", goal="g", backstory="b", tools=[SerperDevTool()])  # finds F01
tasks = [Task(description="d", expected_output="e") for _ in range(3)]  # finds F01
user = autogen.UserProxyAgent("user", code_execution_config=False)  # finds F01
client = OpenAIChatCompletionClient(model="gpt-4o")  # finds F01 hints F13
done = TextMentionTermination("TERMINATE")  # finds F01
PROMPT = ChatPromptTemplate.from_messages([("system", "Be brief.")])
make = functools.partial(Crew, agents=[], tasks=[])


class SearchTool(BaseTool):
    name: str = "search"
    engine: object = SerperDevTool()  # finds F01

    def _run(self, query: str) -> str:
        return query


search = SearchTool()  # finds F01


@tool("Add")
def add(first: int, second: int) -> int:
    """Add two numbers."""
    return first + second


def build_crew() -> Crew:
    return Crew(agents=[Worker(role="r", goal="g", backstory="b")], tasks=[])


shared = build_crew()  # finds F01


def answer(question: str, by: Worker = crewai.Agent(role="r", goal="g", backstory="b")) -> str:  # finds F01
    return str(by)


@lru_cache(maxsize=1)
def cached_crew() -> Crew:  # finds F01
    return build_crew()


@lru_cache
def greeting(name: str) -> str:
    return f"Hello {name}"


_crew = None


def get_crew() -> Crew:
    global _crew
    if _crew is None:
        _crew = Crew(agents=[], tasks=[])  # finds F01
    return _crew


class Service:
    def __init__(self) -> None:
        self.crew = build_crew()

    @classmethod
    def shared(cls) -> "Service":
        if not hasattr(cls, "_instance"):
            cls._instance = cls.make()
        return cls._instance

    @classmethod
    def make(cls) -> "Service":
        return Service()


class Registry:
    crew = None

    @classmethod
    def get(cls) -> Crew:
        cls.crew = cls.crew or None
        cls.crew = build_crew()  # finds F01
        return cls.crew


service = Service()  # finds F01


@CrewBase
class Support:  # hints F01
    @agent
    def helper(self) -> Worker:
        return Worker(config=self.agents_config["helper"])

    @crew
    def crew(self) -> Crew:
        return Crew(agents=self.agents, tasks=self.tasks)


support = Support().crew()  # finds F01
later = lambda: Crew(agents=[], tasks=[])  # noqa: E731
plain = OpenAI()  # hints F01
