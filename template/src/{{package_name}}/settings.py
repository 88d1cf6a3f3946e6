"""The variables that this application needs beside the platform's own. Imports no framework: a gateway loads it too."""

from crewyard_runtime import ApplicationSettings
from pydantic import Field


class Settings(ApplicationSettings):
    """Each field is a variable of the same name in capitals; one without a default must be set, or nothing starts."""

    company: str = Field(
        default="Lumen Notes", description="the company that the agents answer for", examples=["Lumen Notes"]
    )
