"""A script; that another package has a module `main` says nothing of it; token_usage is counted."""

from agents import planner
from crewai import Crew
from dotenv.main import load_dotenv

load_dotenv()
crew = Crew(agents=[planner], tasks=[])  # hints F01
crew.kickoff()  # hints F24
