"""Prompts, tools and inputs in Japanese and German."""
