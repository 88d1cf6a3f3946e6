"""What an update could not bring together: each file, why, and where the edit belongs."""

from pathlib import Path

from crewyard import zones
from crewyard.git import content, git, names, untracked
from crewyard.step import Step

MARKS = (b"<<<<<<< before updating", b">>>>>>> after updating")


def conflicts(root: Path, head: str) -> list[str]:
    """A sentence for each file with a conflict. head: the commit before the update."""
    changed = names(root, "diff", "--name-only", "--relative", "--diff-filter=d", head, "--", ".")
    marked = set(names(root, "diff", "--name-only", "--relative", "--diff-filter=U"))
    marked |= {name for name in (*changed, *untracked(root)) if _is_marked(root / name)}
    return [_told(name, "you and the new release have both changed it") for name in sorted(marked)]


def lost(root: Path, head: str, steps: list[Step]) -> list[str]:
    """A sentence for each managed file that the team had edited and the new release has no more, unless it was moved.

    What is the team's alone comes back.
    """
    gone = names(root, "diff", "--name-only", "--relative", "--diff-filter=D", head, "--", ".")
    if not gone:
        return []
    rendered = {name: text for step in steps for name, text in step.before.items()}
    moved = {path.read_bytes() for path in map(root.joinpath, untracked(root)) if path.is_file()}
    edited = [name for name in gone if (text := content(root, head, name)) != rendered.get(name) and text not in moved]
    if theirs := [name for name in edited if zones.is_team(name)]:
        git(root, "restore", f"--source={head}", "--worktree", "--", *theirs)
    return [
        _told(name, f"the new release has none, and your edits of it are in git alone: `git show HEAD:./{name}`")
        for name in edited
        if name not in theirs
    ]


def _is_marked(path: Path) -> bool:
    if path.suffix == ".rej":
        return True
    try:
        return any(line.rstrip() in MARKS for line in path.read_bytes().splitlines())
    except OSError:
        return False


def _told(name: str, why: str) -> str:
    if zones.is_team(name):
        return f"{name}: {why}. It is yours alone, and no update should touch it: please report this."
    return f"{name}: {why}. It is managed: {zones.belongs(name)}."
