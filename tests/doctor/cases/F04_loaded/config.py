"""Settings that another module imports."""

import os

from dotenv import load_dotenv

load_dotenv()  # hints F04
KEY = os.getenv("KEY")  # finds F04
