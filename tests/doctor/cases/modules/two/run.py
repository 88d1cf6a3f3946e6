"""`agents` is a package of others here: no module beside this one has that name."""

from agents import planner, Runner

planner.run("x")
Runner.run_sync(planner, "x")
