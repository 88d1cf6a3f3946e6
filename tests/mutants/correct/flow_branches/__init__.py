"""A flow with a router, or_ and and_, one crew and one agent that runs alone."""
