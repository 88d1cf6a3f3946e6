"""Three agents, one after the other, who hand plain text to each other."""
