"""What a migration changes in a project: planned first, then applied. The standard library alone.

A migration is `hooks/to_X_Y_Z.py`. It looks at the project in the working directory, plans, and applies at its end.
It can run twice, and over a project that has nothing of what it looks for: it plans what is left, which may be nothing.
`copier.yml` names it under `_migrations` with the version that needs it; no other update needs --trust.
"""

import shutil
import tempfile
from pathlib import Path


class Plan:
    """Changes of files below a directory, in memory until `apply`. Paths are relative to it, and stay below it."""

    def __init__(self, root: Path | None = None) -> None:
        self._root = (root or Path.cwd()).resolve()
        self._written: dict[str, bytes] = {}
        self._deleted: set[str] = set()

    def read(self, path: str) -> str | None:
        """What a file will hold, line ends as they are; None if there will be none."""
        if path in self._deleted:
            return None
        if path in self._written:
            return self._written[path].decode("utf-8")
        file = self._file(path)
        return file.read_bytes().decode("utf-8") if file.is_file() else None

    def write(self, path: str, text: str) -> None:
        """Let a file hold this."""
        self._file(path)
        self._written[path] = text.encode("utf-8")
        self._deleted.discard(path)

    def delete(self, path: str) -> None:
        """Let a file be gone, if it is there."""
        self._file(path)
        self._written.pop(path, None)
        self._deleted.add(path)

    def move(self, path: str, to: str) -> None:
        """Let a file be elsewhere. What stands there already is the team's, and stays: then nothing is moved."""
        text = self.read(path)
        if text is not None and self.read(to) is None:
            self.write(to, text)
            self.delete(path)

    def apply(self) -> None:
        """Do it. Everything is written beside its place before the first file is changed: a full disk changes none.

        Raises OSError. What ends this between two files leaves a project over which the migration can run again.
        """
        with tempfile.TemporaryDirectory(prefix=".migration-", dir=self._root) as place:
            staged = []
            for number, (path, content) in enumerate(sorted(self._written.items())):
                new = Path(place) / str(number)
                new.write_bytes(content)
                if self._file(path).exists():
                    shutil.copymode(self._file(path), new)
                staged.append((new, self._file(path)))
            for new, target in staged:
                target.parent.mkdir(parents=True, exist_ok=True)
                new.replace(target)
        for path in sorted(self._deleted):
            self._file(path).unlink(missing_ok=True)

    def _file(self, path: str) -> Path:
        """Raises ValueError for a path that leads out of the project, over a link too."""
        file = self._root / path
        if not file.resolve().is_relative_to(self._root):
            msg = f"{path} is not below {self._root}"
            raise ValueError(msg)
        return file
