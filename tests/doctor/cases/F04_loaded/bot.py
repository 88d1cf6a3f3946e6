"""What is only ever started reads its environment when it starts."""

import os

import crewai
import discord
from dotenv import load_dotenv

from config import KEY

load_dotenv()
TOKEN = os.getenv("TOKEN")  # hints F04
client = discord.Client()


class Listener(discord.Client):
    async def on_message(self, message: discord.Message) -> None:
        await message.reply(f"{KEY} {crewai.__version__}")


client.run(TOKEN)
