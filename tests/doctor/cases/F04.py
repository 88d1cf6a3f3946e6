"""Configuration that is read at import."""

import os
from os import environ, getenv

from crewai import Agent
from decouple import config
from dotenv import load_dotenv
from pydantic import Field
from pydantic_settings import BaseSettings

load_dotenv()
KEY = os.environ["OPENAI_API_KEY"]  # finds F04
MODEL = os.getenv("MODEL", "gpt-4o-mini")  # finds F04
URL = environ.get("BASE_URL")  # finds F04
HOST = getenv("HOST")  # finds F04
DEBUG = config("DEBUG", default=False)  # finds F04
os.environ["OTEL_SDK_DISABLED"] = "true"
os.environ.setdefault("CREWAI_DISABLE_TELEMETRY", "true")


class Settings(BaseSettings):
    openai_api_key: str = Field(default="")


settings = Settings()  # finds F04


class Config:
    REGION = os.environ.get("REGION", "eu")  # finds F04


def build(model: str = os.getenv("MODEL", "m")) -> Agent:  # finds F04
    return Agent(role=model, goal="g", backstory="b")


def get_settings() -> Settings:
    return Settings()


import autogen

models = autogen.config_list_from_json(env_or_file="OAI_CONFIG_LIST")  # hints F04
