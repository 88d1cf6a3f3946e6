"""What the agents can do beside thinking."""
