"""Two agents that may ask each other."""
