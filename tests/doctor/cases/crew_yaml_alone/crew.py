"""Nothing to find here: a program for one person."""

import crewai

print(crewai.__version__)
