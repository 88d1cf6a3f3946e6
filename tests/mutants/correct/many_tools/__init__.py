"""A dozen tools of every kind, over three agents."""
