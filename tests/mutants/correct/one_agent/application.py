"""One agent of Agent Framework with tools; it is returned as it is."""

from crewyard_runtime import Application

from .models import Answer, Question

application = Application(name="one-agent", input=Question, output=Answer, build="my_crew.team:build_team")
