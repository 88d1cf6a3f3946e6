"""Git, as the commands need it."""

import os
import shutil
import subprocess
from pathlib import Path

from crewyard.errors import NotPossible

# Its messages in English and nothing asked: a private template that needs a password fails instead of waiting.
ENVIRONMENT = {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"}


def git(place: Path, *arguments: str, check: bool = True) -> str:
    """What git prints in a directory. Raises NotPossible with git's own words if it fails and `check`."""
    if shutil.which("git") is None:
        msg = "There is no git here, and updates need it: install git."
        raise NotPossible(msg)
    done = subprocess.run(
        ["git", *arguments],
        cwd=place,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        check=False,
        env={**os.environ, **ENVIRONMENT},
    )
    if check and done.returncode != 0:
        msg = f"git {arguments[0]} failed in {place}: {(done.stderr or done.stdout).decode(errors='replace').strip()}"
        raise NotPossible(msg)
    return done.stdout.decode("utf-8", "surrogateescape")


def content(place: Path, commit: str, name: str) -> bytes:
    """A file below a directory as it was committed."""
    return git(place, "show", f"{commit}:./{name}").encode("utf-8", "surrogateescape")


def untracked(place: Path) -> list[str]:
    """The files below a directory that git neither knows nor ignores."""
    return names(place, "ls-files", "--others", "--exclude-standard", ".")


def names(place: Path, *arguments: str) -> list[str]:
    """The file names that a git command prints that knows `-z`."""
    return [name for name in git(place, arguments[0], "-z", *arguments[1:]).split("\0") if name]
