"""A chat of two agents in the classic API, with a tool."""

from crewyard_runtime import Application

from .models import Answer, Question

application = Application(name="two-agents", input=Question, output=Answer, build="my_crew.team:build_team")
