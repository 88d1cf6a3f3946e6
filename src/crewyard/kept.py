"""The team's own files outside of its code: what nobody has edited follows another answer, all else stays as it is.

Copier by itself brings such a file back where the team has deleted it, and takes it away with the answer that brought
it, edited or not.
"""

from contextlib import suppress
from difflib import unified_diff
from pathlib import Path

from crewyard.git import content, git, names, untracked
from crewyard.project import Project
from crewyard.step import Step
from crewyard.zones import CODE, OVERLAYS, is_team


def settle(root: Path, head: str, step: Step) -> list[str]:
    """Returns how another answer changes each file that the team has edited. head: the commit before the update."""
    answers = Project(root).made.answers
    if all(answers.get(name) == answer for name, answer in step.made.answers.items()):
        _stay_away(root, [name for name in untracked(root) if _is_kept(name) and _was_deleted(root, name)])
        return []
    old = {name: made for name, made in step.before.items() if _is_kept(name)}
    new = {name: made for name, made in step.rendered(step.release, answers).items() if _is_kept(name)}
    committed = names(root, "ls-tree", "-r", "--name-only", head, "--", ".")
    there = {name: content(root, head, name) for name in committed if _is_kept(name)}
    _stay_away(root, [name for name in old if name not in there and (root / name).is_file()])
    _keep_overlays(root, head, old, there)
    told = []
    for name in sorted(name for name in old.keys() & new.keys() & there.keys() if old[name] != new[name]):
        if there[name] == old[name]:
            (root / name).write_bytes(new[name])
        elif there[name] != new[name]:
            told.append(_told(name, old[name], new[name]))
    return told


def _is_kept(name: str) -> bool:
    return is_team(name) and not name.startswith(CODE)


def _was_deleted(root: Path, name: str) -> bool:
    return bool(git(root, "log", "-1", "--format=%h", "--diff-filter=D", "--no-renames", "--", name).strip())


def _stay_away(root: Path, files: list[str]) -> None:
    for name in files:
        (root / name).unlink()
        with suppress(OSError):  # it is not empty
            (root / name).parent.rmdir()


def _keep_overlays(root: Path, head: str, old: dict[str, bytes], there: dict[str, bytes]) -> None:
    """One that is the team's needs its neighbours: all stay, or none."""
    overlays = [name for name in there if name.startswith(OVERLAYS)]
    gone = [name for name in overlays if not (root / name).exists()]
    if gone and any(there[name] != old.get(name) for name in overlays):
        git(root, "restore", f"--source={head}", "--worktree", "--", *gone)


def _told(name: str, old: bytes, new: bytes) -> str:
    before, after = (text.decode("utf-8", "replace").splitlines() for text in (old, new))
    return "\n".join(unified_diff(before, after, name, name, n=1, lineterm=""))
