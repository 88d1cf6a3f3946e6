"""Nothing to find here."""

import crewai

print(crewai.__version__)
