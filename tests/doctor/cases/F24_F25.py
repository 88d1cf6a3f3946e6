"""What an application does when it starts; token_usage is counted."""

from crewai import Crew  # hints F25
from fastapi import FastAPI

app = FastAPI()
crew = Crew(agents=[], tasks=[])  # finds F01
result = crew.kickoff()  # finds F24


def run() -> object:
    return Crew(agents=[], tasks=[]).kickoff()


warm = run()  # finds F24

if __name__ == "__main__":
    run()
