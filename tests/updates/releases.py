"""The releases of the template: an archive of each, and a repository made of them, with its tags, to update from.

    uv run tests/updates/releases.py 0.7.0     writes the archive of a tag; a part of making a release (CONTRIBUTING.md)

Tags and history may not travel with a branch, so the tests have what they need beside them.
"""

import shutil
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

from packaging.version import Version

REPOSITORY = Path(__file__).parent.parent.parent
ARCHIVES = Path(__file__).parent / "releases"
# What `copier` reads of the template's repository, and what the command `crewyard` reads of it.
PARTS = ("copier.yml", "template", "hooks", "CHANGELOG.md")
WHO = ("-c", "user.name=test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false")


def released() -> list[str]:
    """The versions that have an archive, oldest first."""
    return sorted((path.name.removesuffix(".tar.xz") for path in ARCHIVES.glob("*.tar.xz")), key=Version)


def head() -> str:
    """The version of the working tree: its own, or one just above it if that is released."""
    own: str = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    return f"{own}.post1" if own in released() else own


def make_repository(place: Path) -> Path:
    """A template repository with one commit and one tag for each release, and for the working tree at last."""
    place.mkdir(parents=True)
    _git(place, "init", "--quiet", "--initial-branch=main")
    for version in released():
        with tarfile.open(ARCHIVES / f"{version}.tar.xz") as archive:
            archive.extractall(place, filter="tar")  # links between samples point upwards, which "data" refuses
        release(place, version)
        _git(place, "rm", "-r", "--quiet", ".")
    _copy_working_tree(place)
    release(place, head())
    return place


def release(place: Path, version: str) -> None:
    """Commit and tag all that is there."""
    _git(place, "add", "--all", "--force")
    _git(place, *WHO, "commit", "--quiet", "--allow-empty", "-m", version)
    _git(place, "tag", version)


def _copy_working_tree(place: Path) -> None:
    listed = _git(REPOSITORY, "ls-files", "--cached", "--others", "--exclude-standard", "-z", "--", *PARTS)
    for name in filter(None, listed.split("\0")):
        source, target = REPOSITORY / name, place / name
        if source.is_symlink() or source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)


def write_archive(tag: str) -> Path:
    """Write the archive of a tag of this repository; the same bytes each time."""
    parts = [part for part in PARTS if _git(REPOSITORY, "ls-tree", "--name-only", tag, part).strip()]
    packed = subprocess.run(["git", "archive", tag, *parts], cwd=REPOSITORY, capture_output=True, check=True).stdout
    target = ARCHIVES / f"{tag}.tar.xz"
    target.write_bytes(subprocess.run(["xz", "-9e"], input=packed, capture_output=True, check=True).stdout)
    return target


def _git(place: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=place, capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    for tag in sys.argv[1:]:
        print(write_archive(tag).relative_to(REPOSITORY))
