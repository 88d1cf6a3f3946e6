"""A directory that no run can read: the worker's files of secrets, which belong to the same user.

By Landlock, by which a process without any right gives up some of its own for good, with all that it starts. Linux has
it since 5.13, and since 5.19 without forbidding to move files from one directory to another. Source: the kernel's
manual, "Landlock: unprivileged access control".
"""

import ctypes
import os
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

VARIABLE = "CREWYARD_CLOSED"  # by which the fork server is told the directory
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on each kind of processor
_READ_FILE, _REFER = 1 << 2, 1 << 13
_VERSION, _BENEATH = 1, 1
_PR_SET_NO_NEW_PRIVS = 38
_FIRST = 2  # version of Landlock


def why_not(directory: Path) -> str | None:
    """Why the directory cannot be closed; None if it can."""
    if sys.platform != "linux" or _call(_CREATE_RULESET, None, 0, _VERSION) < _FIRST:
        return "this system has no Landlock (Linux 5.19)"
    unseen = [str(above) for above in directory.resolve().parents if not os.access(above, os.R_OK)]
    return f"{unseen[0]} cannot be listed" if unseen else None


def close_named() -> None:
    """Close the directory that this process was told, if there is one. Raises OSError."""
    if directory := os.environ.pop(VARIABLE, None):
        close(Path(directory))


def close(directory: Path) -> None:
    """Let this process, and whatever it starts, read no file in the directory or below. Raises OSError.

    What appears later beside the directory, or beside one above it, cannot be read either.
    """
    rights = struct.pack("=Q", _READ_FILE | _REFER)
    rules = _call(_CREATE_RULESET, rights, len(rights), 0)
    for path in _others(directory.resolve()):
        try:
            opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except FileNotFoundError:
            continue  # somebody's temporary file, which has gone since
        allowed = _READ_FILE | _REFER if path.is_dir() else _READ_FILE
        _call(_ADD_RULE, rules, _BENEATH, struct.pack("=Qi", allowed, opened), 0)
        os.close(opened)
    if ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        msg = "the process cannot give up rights"
        raise OSError(msg)
    _call(_RESTRICT_SELF, rules, 0)
    os.close(rules)


def _others(directory: Path) -> Iterator[Path]:
    """All that is not on the way from the root to the directory."""
    for above, on_the_way in zip(
        reversed(directory.parents), [*reversed(directory.parents), directory][1:], strict=True
    ):
        yield from (path for path in above.iterdir() if path != on_the_way and not path.is_symlink())


def _call(number: int, *arguments: object) -> int:
    library = ctypes.CDLL(None, use_errno=True)
    result: int = library.syscall(number, *arguments)
    if result < 0 and number != _CREATE_RULESET:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
