"""Structured output with lists of models, enums, dates, unions and maps."""
