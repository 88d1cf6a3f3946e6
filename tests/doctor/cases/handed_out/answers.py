"""What a handler calls starts what this module holds."""

from teams import build_team, team


async def answer(question: str) -> str:
    return str(await team.run(task=question))  # finds F02


async def answer_alone(question: str) -> str:
    own = build_team()
    return str(await own.run(task=question))


async def try_out() -> None:
    await team.run(task="hello")
