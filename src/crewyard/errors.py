"""What ends a command with one sentence."""


class NotPossible(Exception):
    """The command cannot do what it was asked for; the message says why, and what to do."""
