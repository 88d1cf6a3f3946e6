"""Keys and logs."""

import logging
import os

import autogen
from crewai import LLM

logger = logging.getLogger(__name__)
api_key = os.environ.get("OPENAI_API_KEY")  # finds F04
CONFIG = [{"model": "gpt-4", "api_key": "sk-q8Zt3LwPv0RkYb6HcNf1T3BlbkFJm2Xa9Ue5Gd7Ks4Jo"}]  # finds F23
PLACEHOLDERS = [{"api_key": "sk-..."}, {"api_key": "YOUR_API_KEY_HERE_PLEASE"}, {"api_key": "ollama"}]
os.environ["SERPER_API_KEY"] = "9f3b1c7d5e8a2046b1d3f5a7c9e0b2d4f6a8c0e1"  # finds F23
GITHUB = "ghp_q8Zt3LwPv0RkYb6HcNf1Tm2Xa9Ue5Gd7Ks4J"  # finds F23
max_tokens = "1234567890abcdefghij"
tokenizer = "sentence-transformers/all-MiniLM-L6-v2"


def build() -> LLM:
    print(autogen.__version__)
    return LLM(model="m", api_key="sk-test-1234567890abcdefghijkl")


def shows() -> None:
    print(api_key)  # finds F23
    logger.info(f"the key is {api_key}")  # finds F23
    print(os.environ["SLACK_BOT_TOKEN"])  # hints F03 finds F23


def hides() -> None:
    print(f"the key is {'set' if api_key else 'missing'}")
    print(bool(api_key), len(api_key or ""))
    logger.info("OPENAI_API_KEY is set")


def mails(server: object, database: object) -> None:
    GMAIL_APP_PASSWORD = "kfxj hzfh lvqi nblw"  # finds F23
    server.login("me", GMAIL_APP_PASSWORD)
    database.connect(user="root", password="root")  # hints F23
    database.connect(user="root", password=api_key)


def verify(token: str, name: str) -> bool:
    return token == "6ce0a076d321" or name == "6ce0a076d322"  # hints F23


PRICES = {"price_key": "input_audio_mtok_over_1h", "update_token": "1026d61f-d3d5-4a07-b6a8-0c0e4d1c5a11"}
TOKEN_PATTERN = {"token": r"[-!#$%&'*+.^_`|~0-9a-zA-Z]+"}
HEADERS = {"X-API-KEY": "application/json", "api_key": "input_audio_mtok_2h"}
