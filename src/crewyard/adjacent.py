"""Brings together what two sides have changed in neighbouring lines, which git calls a conflict.

In `pyproject.toml` alone, where a team and the template both write: a dependency below a line that the release changes,
or a table at the end of the file, says nothing against the other side's line.
"""

import tomllib
from collections.abc import Iterator
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

from crewyard.git import git, names
from crewyard.zones import SHARED

Change = tuple[int, int, list[str]]  # the lines of the base from the first to before the second become these


def settle(root: Path) -> None:
    """Settle the conflict of the shared file, if no line was changed by both sides and each value keeps its table."""
    if SHARED not in names(root, "diff", "--name-only", "--relative", "--diff-filter=U"):
        return
    ours, base, theirs = (git(root, "show", f":{stage}:./{SHARED}").splitlines(keepends=True) for stage in (2, 1, 3))
    merged = merge(base, ours, theirs)
    if merged is not None and _means_both(base, ours, theirs, merged):
        (root / SHARED).write_text("".join(merged), "utf-8", newline="")
        # As Copier leaves a file without a conflict: changed, and known to git as it was.
        git(root, "reset", "--quiet", "HEAD", "--", SHARED)


def merge(base: list[str], ours: list[str], theirs: list[str]) -> list[str] | None:
    """The base with the changes of both sides, what both have done alike once; None where they overlap.

    Where both have put something between the same two lines, theirs comes first.
    """
    others = _changes(base, theirs)
    mine = [change for change in _changes(base, ours) if change not in others]
    changes = sorted([(change, 0) for change in others] + [(change, 1) for change in mine], key=_place)
    merged, done = [], 0
    for (first, end, lines), _ in changes:
        if first < done:
            return None
        merged += [*base[done:first], *lines]
        done = end
    return [*merged, *base[done:]]


def _changes(base: list[str], side: list[str]) -> list[Change]:
    found = SequenceMatcher(None, base, side, autojunk=False).get_opcodes()
    return [(first, end, side[start:stop]) for kind, first, end, start, stop in found if kind != "equal"]


def _place(change: tuple[Change, int]) -> tuple[int, int, int]:
    (first, end, _), side = change
    return first, end, side


def _means_both(base: list[str], *others: list[str]) -> bool:
    """Whether the last of the others has the values of the base with both sides' changes, each in its own table."""
    try:
        old, ours, theirs, merged = (set(_values(tomllib.loads("".join(lines)))) for lines in (base, *others))
    except ValueError:
        return False
    return merged == (theirs - (old - ours)) | (ours - old)


def _values(value: Any, place: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Each value of a TOML document with the tables that it is in; the members of a list one by one."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _values(inner, (*place, name))
    elif isinstance(value, list):
        for inner in value:
            yield from _values(inner, (*place, "[]"))
    else:
        yield place, repr(value)
