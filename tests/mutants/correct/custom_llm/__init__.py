"""A model client of the team's own, which speaks to the server by itself."""
