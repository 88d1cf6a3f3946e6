"""Two agents of AgentChat that hand over to each other; the team is returned as it is."""

from crewyard_runtime import Application

from .models import Question, Text

application = Application(name="swarm", input=Question, output=Text, build="my_crew.team:build_team")
