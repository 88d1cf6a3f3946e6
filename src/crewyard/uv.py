"""What uv does for a project: its lock, its check, its tests."""

import os
import shutil
import subprocess
from pathlib import Path

from crewyard.errors import NotPossible


def uv(root: Path, *arguments: str) -> None:
    """Run uv in a project and let it print. Raises NotPossible, which says how to do the same by hand."""
    command = f"uv {' '.join(arguments)}"
    if shutil.which("uv") is None:
        msg = f"there is no uv: install it, then run `{command}`"
        raise NotPossible(msg)
    # What this command runs in is not the environment of the project.
    outside = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    done = subprocess.run(["uv", *arguments], cwd=root, env=outside, stdin=subprocess.DEVNULL, check=False)
    if done.returncode != 0:
        msg = f"`{command}` ended with {done.returncode}, its words are above"
        raise NotPossible(msg)
