"""What an update did to a project, as tests ask for it."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from conftest import sh

from crewyard import zones
from crewyard.conflicts import MARKS

Contents = dict[str, bytes]


def contents(place: Path) -> Contents:
    """Each file that git would know, by its path; of a link where it points."""
    listed = sh(place, "git", "ls-files", "--cached", "--others", "--exclude-standard", "-z").stdout
    paths = [place / name for name in sorted(set(filter(None, listed.split("\0"))))]
    return {
        str(path.relative_to(place)): str(path.readlink()).encode() if path.is_symlink() else path.read_bytes()
        for path in paths
        if path.is_symlink() or path.exists()
    }


@dataclass(frozen=True)
class Looked:
    """What a team has done before an update, and what is there after it."""

    original: Contents
    before: Contents
    after: Contents

    @property
    def conflicts(self) -> list[str]:
        """The files with a conflict."""
        marked = [name for name, text in self.after.items() if any(mark in text.splitlines() for mark in MARKS)]
        return marked + [name for name in self.after if name.endswith(".rej")]

    @property
    def lost(self) -> list[str]:
        """Each line that the team had written and is gone, and each file of theirs that is another or came back."""
        theirs = {name for name, text in self.before.items() if self.original.get(name) != text}
        deleted = {name for name in self.original if name not in self.before}
        found = [f"{name} came back" for name in sorted(deleted & self.after.keys())]
        for name in sorted(theirs):
            if name not in self.after:
                found.append(f"{name} is gone")
            elif name not in self.original or zones.is_team(name):
                found += [f"{name} is another"] if self.after[name] != self.before[name] else []
            else:
                written = set(self.before[name].splitlines()) - set(self.original[name].splitlines())
                found += [f"{name}: {line!r}" for line in written - set(self.after[name].splitlines())]
        return found


def unmerged(place: Path) -> list[str]:
    """The files that git holds for unmerged."""
    command = ("git", "diff", "--name-only", "--diff-filter=U")
    return subprocess.run(command, cwd=place, capture_output=True, text=True, check=True).stdout.split()
