"""Directories that end with their owner: made for a run or a process, locked, cleared by whoever starts next."""

import atexit
import fcntl
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

KEPT = ".kept"  # marks a workspace that its user asked to keep


class Workspaces:
    """The directories under one root; several processes may share it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def prepare(self) -> None:
        """Make the root, and remove the directories in it whose owner is gone. Raises OSError."""
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(self.root):
            for place in self.root.iterdir():
                self._remove_if_dead(place)

    @contextmanager
    def made_for(self, name: str, keep: bool = False) -> Iterator[Path]:
        """A new, empty directory called `name`. Raises OSError if it cannot be made, FileExistsError if it is there."""
        place = self.root / name
        with _locked(self.root):
            place.mkdir(mode=0o700)
            lock = os.open(place, os.O_RDONLY)
            fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield place
        finally:
            if keep:
                (place / KEPT).touch()
            else:
                _remove(place)
            os.close(lock)

    def made_for_this_process(self) -> Path:
        """A new directory that is removed when this process exits, or when another prepares after it was killed."""
        stack = ExitStack()
        place = stack.enter_context(self.made_for(f"{os.getpid()}-{time.monotonic_ns()}"))
        atexit.register(stack.close)
        return place

    def _remove_if_dead(self, place: Path) -> None:
        if not place.is_dir() or (place / KEPT).exists():
            return
        lock = os.open(place, os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove(place)
        except BlockingIOError:
            return  # its parent lives
        finally:
            os.close(lock)


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    handle = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _remove(place: Path) -> None:
    with suppress(RecursionError):
        shutil.rmtree(place, onerror=_make_writable_and_retry)
    if place.exists():  # its directories are deeper than Python goes
        subprocess.run(["rm", "-rf", "--", str(place)], capture_output=True, check=False)


def _make_writable_and_retry(function: object, path: str, error: object) -> None:
    parent = Path(path).parent
    parent.chmod(0o700)
    target = Path(path)
    if target.is_dir() and not target.is_symlink():
        target.chmod(0o700)
        shutil.rmtree(target, ignore_errors=True)
    else:
        target.unlink(missing_ok=True)
