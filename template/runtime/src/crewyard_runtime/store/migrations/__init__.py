"""The migrations: each expands first; what it replaces is dropped a release later."""
