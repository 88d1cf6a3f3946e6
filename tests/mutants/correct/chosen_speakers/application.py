"""A group chat of the classic API whose speakers a model chooses; the manager is returned as it is."""

from crewyard_runtime import Application

from .models import Question, Text

application = Application(name="chosen-speakers", input=Question, output=Text, build="my_crew.team:build_team")
