"""A bot answers several people at once; token_usage is counted."""

from crewai import Crew
from telegram import Update
from telegram.ext import ContextTypes

crew = Crew(agents=[], tasks=[])  # finds F01


async def answer(update: Update, context: ContextTypes.DEFAULT_TYPE) -> None:
    result = await crew.akickoff(inputs={"question": update.message.text})  # finds F02
    await update.message.reply_text(result.raw)


async def main() -> None:
    await crew.akickoff()
