"""Two agents of AgentChat in turns, whose models stream."""

from crewyard_runtime import Application

from .models import Text, Topic

application = Application(name="writers", input=Topic, output=Text, build="my_crew.team:build_team")
