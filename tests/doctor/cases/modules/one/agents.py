from crewai import Agent

planner = Agent(role="p", goal="g", backstory="b")  # finds F01
