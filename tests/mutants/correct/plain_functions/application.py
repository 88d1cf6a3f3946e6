"""Agents of Agent Framework in plain Python, at once and one after the other, with a session."""

from crewyard_runtime import Application

from .models import Report, Text

application = Application(name="plain-functions", input=Text, output=Report, build="my_crew.team:build_team")
