"""Throttled calls."""

from crewai import LLM
from fastapi import HTTPException
from langchain_openai import ChatOpenAI
from litellm import RateLimitError
from openai import OpenAI


def clients() -> list[object]:
    return [
        LLM(model="m", num_retries=0),  # finds F09
        ChatOpenAI(model="m", max_retries=0),  # finds F09
        OpenAI(max_retries=3),
        LLM(model="m"),
    ]


def passes_on() -> None:
    try:
        clients()
    except RateLimitError as error:
        raise HTTPException(status_code=500, detail="busy") from error  # finds F09


def says_so() -> None:
    try:
        clients()
    except RateLimitError as error:
        raise HTTPException(status_code=429, detail="busy") from error
    except ValueError as error:
        raise HTTPException(status_code=500, detail="broken") from error
