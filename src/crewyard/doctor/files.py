"""Which files of a project are read, and which are not and why."""

import fnmatch
import os
import re
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from crewyard.doctor.findings import NotRead

LARGEST = 1_000_000  # bytes
LARGEST_DATA = 200_000  # bytes, of a file that is searched for keys alone
SKIPPED = frozenset(
    {"node_modules", "site-packages", "build", "dist", "__pycache__", "venv", "env", "vendor", "third_party"}
)
NOT_JUDGED = frozenset({"tests", "test", "testing", "docs"})
TEST_FILES = ("test_*.py", "*_test.py", "conftest.py")
DOCKERFILE = re.compile(r"^(Dockerfile|Containerfile)([.-].+)?$|\.dockerfile$", re.IGNORECASE)
COMPOSE = re.compile(r"^(docker-)?compose([.-].+)?\.ya?ml$")
MARKERS = ("pyproject.toml", "setup.py", "requirements.txt")
ENV_EXAMPLES = re.compile(r"example|sample|template|dist|test|schema", re.IGNORECASE)
# What crewyard manages in a project that it made and replaces at each update; the template's own tests judge it.
MANAGED, MARK_OF_MANAGED = "runtime", "src/crewyard_runtime"
DATA_NAMES = ("*.yaml", "*.yml", "*.json", "*.toml", "*.ini", "*.cfg", "OAI_CONFIG_LIST*", ".env*")


@dataclass
class Tree:
    """The files below one PATH, by what they are. root: the directory that project-wide questions are asked of."""

    root: Path
    python: list[Path] = field(default_factory=list)
    dockerfiles: list[Path] = field(default_factory=list)
    composes: list[Path] = field(default_factory=list)
    data: list[Path] = field(default_factory=list)
    notebooks: list[Path] = field(default_factory=list)
    not_read: list[NotRead] = field(default_factory=list)
    markers: set[Path] = field(default_factory=set)
    names: set[Path] = field(default_factory=set)

    def owner(self, path: Path) -> Path:
        """The directory of the project that a file belongs to: the nearest with a pyproject.toml or its like."""
        for parent in path.parents:
            if parent in self.markers or parent == self.root:
                return parent
        return self.root


def shown(path: Path, root: Path) -> str:
    """A path as it is printed: from the current directory if it is below, else from the PATH that was given."""
    try:
        return path.relative_to(Path.cwd()).as_posix()
    except ValueError:
        return path.relative_to(root).as_posix() if path != root else path.name


def managed_in(project: Path) -> Path | None:
    """The directory that crewyard manages in a project that it made; None if it made none there."""
    return project / MANAGED if (project / MANAGED / MARK_OF_MANAGED).is_dir() else None


def collect(given: Path, *, managed: bool = True) -> Tree:
    """The files of a directory, or the one file that was given. Links are not followed.

    managed: whether those are to be judged that crewyard manages in a project that it made.
    """
    given = given.resolve()
    left_out = None if managed else managed_in(given)
    tree = Tree(given if given.is_dir() else given.parent)
    if given.is_file():
        tree.names.add(given)
        _sort_in(tree, given)
        return tree
    for directory, folders, files in os.walk(given, followlinks=False, onerror=lambda error: _unreadable(tree, error)):
        here = Path(directory)
        judged = left_out is None or not here.is_relative_to(left_out)
        folders[:] = sorted(one for one in folders if not _is_skipped(here / one, given))
        for name in sorted(files):
            path = here / name
            if path.is_symlink():
                continue
            tree.names.add(path)
            if name in MARKERS:
                tree.markers.add(here)
            if judged and not any(fnmatch.fnmatch(name, pattern) for pattern in TEST_FILES):
                _sort_in(tree, path)
    return tree


def _unreadable(tree: Tree, error: OSError) -> None:
    tree.not_read.append(NotRead(shown(Path(error.filename), tree.root), 0, error.strerror or "it cannot be opened"))


def _is_skipped(path: Path, given: Path) -> bool:
    name = path.name
    if name.startswith(".") or name.endswith((".egg-info", "_cache")) or name in NOT_JUDGED or path.is_symlink():
        return True
    return (name in SKIPPED and not _holds(path, "__init__.py")) or _holds(path, "pyvenv.cfg")


def _holds(directory: Path, name: str) -> bool:
    try:
        return (directory / name).exists()
    except OSError:
        return False  # it is named as unreadable when it is listed


def _sort_in(tree: Tree, path: Path) -> None:
    name = path.name
    if name.endswith(".py"):
        tree.python.append(path)
    elif DOCKERFILE.search(name) and not name.endswith((".md", ".dockerignore")):
        tree.dockerfiles.append(path)
    elif COMPOSE.match(name):
        tree.composes.append(path)
    elif name.endswith(".ipynb"):
        tree.notebooks.append(path)
    elif any(fnmatch.fnmatch(name, pattern) for pattern in DATA_NAMES) and not name.endswith(
        ("lock.json", "lock.yaml")
    ):
        tree.data.append(path)


def read(tree: Tree, path: Path, largest: int = LARGEST) -> str | None:
    """The text of a file; None, and a line in tree.not_read, if it cannot be read or is too large."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            tree.not_read.append(NotRead(shown(path, tree.root), 0, "it is no regular file"))
            return None
        if status.st_size > largest:
            if largest == LARGEST:
                tree.not_read.append(
                    NotRead(shown(path, tree.root), 0, f"it has {status.st_size:,} bytes, more than {LARGEST:,}")
                )
            return None
        return _decoded(path.read_bytes())
    except (OSError, LookupError) as error:
        tree.not_read.append(NotRead(shown(path, tree.root), 0, getattr(error, "strerror", None) or str(error)))
        return None


def beside(path: Path) -> str:
    """The text of a file that another one speaks of: "" if there is none, or none that can be read at once."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST:
            return ""
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _decoded(data: bytes) -> str:
    """Python's own declaration of an encoding is honoured; a byte that is not of it is shown as a replacement."""
    declared = re.match(rb"(?:[^\n]*\n)?[ \t]*#.*?coding[:=][ \t]*([-\w.]+)", data)
    encoding = "utf-8-sig" if not declared else declared[1].decode("ascii")
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        encoding = "utf-16"
    return data.decode("utf-8-sig" if encoding.lower() in ("utf-8", "utf8") else encoding, errors="replace")


def env_files(tree: Tree) -> Iterator[Path]:
    """The .env files that hold values: no examples."""
    named = (path for path in tree.names if path.name == ".env" or path.name.startswith(".env."))
    yield from sorted(path for path in named if not ENV_EXAMPLES.search(path.name))


def is_ignored(path: Path, root: Path, ignore_file: str) -> bool:
    """Whether an ignore file between here and the root names this file."""
    for directory in path.parents:
        if _matches(path.name, beside(directory / ignore_file).splitlines()):
            return True
        if directory == root and not (directory.parent / ".gitignore").exists():
            return False
        if (directory / ".git").exists():
            return False
    return False


def _matches(name: str, lines: Iterable[str]) -> bool:
    ignored = False
    for line in lines:
        pattern = line.strip()
        negated = pattern.startswith("!")
        pattern = pattern.lstrip("!").removeprefix("**/").removeprefix("/").removesuffix("/")
        if pattern and not pattern.startswith("#") and fnmatch.fnmatch(name, pattern):
            ignored = not negated
    return ignored
