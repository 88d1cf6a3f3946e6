"""What a project was before an update, so that it can be that again: its commit, and the files that git leaves out."""

import filecmp
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from crewyard.errors import NotPossible
from crewyard.git import git, names, untracked

WHO = ("-c", "user.name=crewyard", "-c", "user.email=crewyard@localhost", "-c", "commit.gpgsign=false")
# A repository's own hooks have no say in a commit that never stays.
NO_HOOKS = ("-c", "core.hooksPath=/dev/null")
LARGEST = 10_000_000  # bytes of an ignored file that is kept; nothing that an update writes comes near
FOR_NOW = "crewyard update: this commit does not stay"


@dataclass(frozen=True)
class Before:
    """Kept below the git directory. head: the commit. left_out: what git ignored, directories whole."""

    head: str
    left_out: list[str]
    told: str
    brought: bool = False  # whether the templates have had their turns

    @classmethod
    def save(cls, root: Path, told: str) -> "Before":
        """Keep what is there now. told: what is about to happen, for whoever finds it interrupted."""
        place = _place(root)
        shutil.rmtree(place, ignore_errors=True)
        left_out = _left_out(root)
        for name in left_out:
            if not name.endswith("/") and (root / name).lstat().st_size <= LARGEST:
                (place / "files" / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(root / name, place / "files" / name, follow_symlinks=False)
        before = cls(git(root, "rev-parse", "HEAD").strip(), left_out, told)
        before._write(root)
        return before

    @classmethod
    def find(cls, root: Path) -> "Before | None":
        """What was kept for an update that was not committed yet; None if there is none."""
        try:
            content = json.loads((_place(root) / "before.json").read_text("utf-8"))
        except (OSError, ValueError):
            return None
        return cls(**content)

    def forget(self, root: Path) -> None:
        """There is no way back any more."""
        shutil.rmtree(_place(root), ignore_errors=True)

    def note_brought(self, root: Path) -> None:
        """Note that from now on the answers files tell whether the update is there still."""
        replace(self, brought=True)._write(root)

    def is_undone(self, root: Path) -> bool:
        """Whether somebody went back by git: every update changes an answers file, and none is changed now."""
        return self.brought and not names(root, "diff", "--name-only", self.head, "--", ".copier-answers*.yml")

    def is_committed(self, root: Path) -> bool:
        """Whether there is another commit now, from which only git goes back."""
        if set(self._commits_since(root)) - {FOR_NOW}:
            return True
        return git(root, "merge-base", self.head, "HEAD", check=False).strip() != self.head

    def replaced(self, root: Path) -> list[str]:
        """The files that git ignores and that are others now than before."""
        kept = _place(root) / "files"
        files = [path.relative_to(kept) for path in kept.rglob("*") if path.is_file() and not path.is_symlink()]
        return sorted(str(name) for name in files if not _is_same(kept / name, root / name))

    def is_open(self, root: Path) -> bool:
        """Whether the update did not end: a commit of it that does not stay is there still."""
        return FOR_NOW in self._commits_since(root)

    def new_files(self, root: Path) -> list[str]:
        """The files that going back would delete: what git does not know and nobody kept."""
        since = set(_left_out(root)) - set(self.left_out)
        return sorted({*untracked(root), *since})

    def put_back(self, root: Path) -> None:
        """Make the project what it was. Raises NotPossible if somebody has committed since."""
        if self.is_committed(root):
            msg = f"Something was committed since the update began on top of {self.head[:12]}: use git to go back."
            raise NotPossible(msg)
        git(root, "restore", f"--source={self.head}", "--staged", "--worktree", "--", ".")
        git(root, "reset", "--quiet", "--soft", self.head)  # not before: it refuses while a file has a conflict
        for name in self.new_files(root):
            _remove(root / name)
        git(root, "clean", "-d", "--force", "--quiet", "--", ".")  # directories that are empty now
        kept = _place(root) / "files"
        for path in kept.rglob("*"):
            if path.is_symlink() or path.is_file():
                target = root / path.relative_to(kept)
                _remove(target)
                shutil.copy2(path, target, follow_symlinks=False)
        self.forget(root)

    def _write(self, root: Path) -> None:
        place = _place(root)
        place.mkdir(parents=True, exist_ok=True)
        (place / "new").write_text(json.dumps(asdict(self)), "utf-8")
        (place / "new").replace(place / "before.json")  # it is there whole, or not at all

    def _commits_since(self, root: Path) -> list[str]:
        return git(root, "log", "--format=%s", f"{self.head}..HEAD", check=False).splitlines()


@contextmanager
def alone(root: Path) -> Iterator[None]:
    """Whoever comes second raises NotPossible. A process that dies leaves nothing behind. Without effect on Windows."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    place = _place(root).parent
    place.mkdir(parents=True, exist_ok=True)
    with (place / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            msg = f"Another update of {root} runs now: wait for its end."
            raise NotPossible(msg) from None
        yield


def commit_for_now(root: Path) -> None:
    """Commit all of the project, because Copier takes a clean one alone. `uncommit` takes the commit back."""
    git(root, "add", "--all", "--", ".")
    git(root, *WHO, *NO_HOOKS, "commit", "--quiet", "--allow-empty", "--no-verify", "-m", FOR_NOW)


def uncommit(root: Path, head: str) -> None:
    """Take the commits back that do not stay; what they brought stays as changes."""
    if git(root, "rev-parse", "HEAD").strip() == head:
        return
    git(root, "update-ref", "HEAD", head)
    if not names(root, "diff", "--name-only", "--diff-filter=U"):  # a conflict stays marked as one
        git(root, "reset", "--quiet", "--", ".")


def _left_out(root: Path) -> list[str]:
    return names(root, "ls-files", "--others", "--ignored", "--exclude-standard", "--directory", ".")


def _place(root: Path) -> Path:
    """A repository may hold several projects, each in a directory of its own."""
    inside, directory = (git(root, "rev-parse", option).strip() for option in ("--show-prefix", "--absolute-git-dir"))
    return Path(directory) / "crewyard" / inside / "before"


def _is_same(one: Path, other: Path) -> bool:
    return other.is_file() and filecmp.cmp(one, other, shallow=False)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
