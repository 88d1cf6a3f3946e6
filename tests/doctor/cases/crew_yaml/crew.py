"""Nothing to find here, but it is part of a service."""

import crewai
import fastapi

print(crewai.__version__, fastapi.__version__)
