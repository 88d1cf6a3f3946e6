"""A flow of coroutines: two crews at once, and tools that await."""
