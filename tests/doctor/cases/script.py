"""A program for one person: what it makes is shared with nobody; token_usage is counted."""

import asyncio
import os

from crewai import Agent, Crew, Task

KEY = os.environ["OPENAI_API_KEY"]  # hints F04
writer = Agent(role="w", goal="g", backstory="b")  # hints F01
task = Task(description="d", expected_output="e", agent=writer, output_file="post.md")  # hints F01 F05
crew = Crew(agents=[writer], tasks=[task], memory=True)  # hints F01 F14 F15


def search(query: str) -> str:
    return query + os.environ["SEARCH_KEY"]  # hints F03


async def play() -> None:
    answer = input("your move: ")  # hints F12
    await crew.akickoff(inputs={"answer": answer})


if __name__ == "__main__":
    asyncio.run(play())
