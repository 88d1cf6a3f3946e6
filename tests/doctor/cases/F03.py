"""Where required variables are looked up."""

import os

import uvicorn
from crewai import LLM, Agent
from crewai.tools import BaseTool


class WeatherTool(BaseTool):
    name: str = "weather"

    def _run(self, city: str) -> str:
        return city + os.environ["WEATHER_KEY"]  # finds F03


def build(model: str) -> Agent:
    llm = LLM(model=model, api_key=os.environ["OPENAI_API_KEY"])  # finds F03
    return Agent(role="r", goal="g", backstory="b", llm=llm)


def fallback(model: str) -> LLM:
    return LLM(model=model, api_key=os.getenv("OPENAI_API_KEY"))  # hints F03


class Client:
    def __init__(self) -> None:
        self.key = os.environ["CLIENT_KEY"]  # hints F03


def load_settings() -> str:
    return os.environ["DATABASE_URL"]  # hints F03


def careful() -> str:
    if "SEARCH_KEY" not in os.environ:
        raise RuntimeError("SEARCH_KEY is not set")
    return os.environ["SEARCH_KEY"]


def caught() -> str:
    try:
        return os.environ["SEARCH_KEY"]
    except KeyError as error:
        raise RuntimeError("SEARCH_KEY is not set") from error


def optional() -> LLM:
    return LLM(model="m", base_url=os.getenv("BASE_URL", "http://localhost"), temperature=float(os.getenv("HEAT") or 0))


def writes() -> None:
    os.environ["OTEL_SDK_DISABLED"] = "true"


def application(environ: dict[str, str]) -> str:
    return environ["wsgi.input"]


if __name__ == "__main__":
    uvicorn.run("app:app", port=int(os.environ["PORT"]))


def by_name() -> LLM:
    key = os.getenv("GROQ_API_KEY", "")  # hints F03
    return LLM(model="m", api_key=key)


def checked_by_name() -> LLM:
    key = os.getenv("GROQ_API_KEY")
    if not key:
        raise RuntimeError("GROQ_API_KEY is not set")
    return LLM(model="m", api_key=key)


def headers() -> dict[str, object]:
    return {"X-API-KEY": os.getenv("SERPER_API_KEY"), "url": "https://example.org"}  # hints F03


def options() -> dict[str, object]:
    return {"url": os.getenv("STATE_URL")}


class CheckTool(BaseTool):
    name: str = "check"

    def _run(self, city: str) -> str:
        return self.load_key() + os.environ["CHECK_KEY"]  # finds F03

    def load_key(self) -> str:
        return os.environ["CHECK_KEY"]  # hints F03


def create_app() -> str:
    return os.environ["BROKER_URL"]  # hints F03
