"""Neither CrewAI nor AutoGen: the rules about agents say nothing."""

import os

from openai import OpenAI

client = OpenAI(api_key=os.environ["OPENAI_API_KEY"])
