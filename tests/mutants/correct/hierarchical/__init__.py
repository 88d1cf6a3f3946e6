"""A manager who hands the work to two agents."""
