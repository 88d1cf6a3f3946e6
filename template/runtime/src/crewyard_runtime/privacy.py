"""Keeps a process to itself."""

import sys

_PR_SET_DUMPABLE = 4


def keep_private() -> None:
    """Keep other processes of the same user from this one's memory and environment (/proc); root still reads them.

    On Linux; elsewhere it does nothing. What it forks is as private, what it starts by another program is not.
    """
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
