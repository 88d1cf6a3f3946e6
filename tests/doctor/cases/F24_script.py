"""A script that nobody imports; token_usage is counted."""

import asyncio

from crewai import Crew


async def main() -> None:
    await Crew(agents=[], tasks=[]).akickoff()


asyncio.run(main())  # hints F24
