"""What becomes of an output; token_usage is counted."""

import json

from crewai import Crew
from pydantic import BaseModel


class Answer(BaseModel):
    text: str


def evaluated(crew: Crew) -> object:
    result = crew.kickoff()
    return eval(result.raw)  # finds F17


def text(crew: Crew) -> object:
    result = crew.kickoff()
    raw = str(result).strip()
    exec(raw)  # finds F17
    return json.loads(raw)  # hints F17


def direct(crew: Crew) -> object:
    return json.loads(crew.kickoff().raw)  # hints F17


def validated(crew: Crew) -> Answer:
    result = crew.kickoff()
    return Answer.model_validate(json.loads(result.raw))


def caught(crew: Crew) -> object:
    result = crew.kickoff()
    try:
        return json.loads(result.raw)
    except ValueError as error:
        raise RuntimeError("no JSON") from error


def other(path: str) -> object:
    return json.loads(path)
