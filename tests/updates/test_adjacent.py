"""Changes of two sides in neighbouring lines of `pyproject.toml`, which git calls a conflict."""

from pathlib import Path

import pytest
from conftest import commit, sh

from crewyard.adjacent import merge, settle

BASE = ["a", "b", "c", "d", "e"]


@pytest.mark.parametrize(
    ("ours", "theirs", "merged"),
    [
        ("a b c d e", "a b c d e", "a b c d e"),
        ("a B c d e", "a b C d e", "a B C d e"),
        ("a b c d e x", "a b c d E", "a b c d E x"),
        ("x a b c d e", "A b c d e", "x A b c d e"),
        ("a b x c d e", "a c d e", "a x c d e"),
        ("a b x c d e", "a b y c d e", "a b y x c d e"),
        ("a b x c d e", "a b x c d e", "a b x c d e"),
        ("b c d e", "a b c d", "b c d"),
        ("a x c d e", "a y c d e", None),
        ("a x c d e", "a c d e", None),
        ("a x y d e", "a b C d e", None),
    ],
)
def test_changes_are_brought_together_unless_a_line_is_the_same(ours: str, theirs: str, merged: str | None) -> None:
    assert merge(BASE, ours.split(), theirs.split()) == (None if merged is None else merged.split())


TABLES = """[project]
name = "crew"

[tool.old]
kept = 1

[build-system]
requires = []
"""


@pytest.mark.parametrize(
    ("ours", "theirs", "settled"),
    [
        # The table of the added line is gone: below the next one it would mean something else.
        (("kept = 1\n", "kept = 1\nmine = 2\n"), ("[tool.old]\nkept = 1\n\n", ""), False),
        (("kept = 1\n", "kept = 1\nmine = 2\n"), ("kept = 1\n", "kept = 3\n"), True),
    ],
)
def test_a_line_stays_in_its_table(
    tmp_path: Path, ours: tuple[str, str], theirs: tuple[str, str], settled: bool
) -> None:
    file = tmp_path / "pyproject.toml"
    file.write_text(TABLES)
    commit(tmp_path, "base")
    sh(tmp_path, "git", "branch", "theirs")
    file.write_text(TABLES.replace(*ours))
    commit(tmp_path, "ours")
    sh(tmp_path, "git", "checkout", "--quiet", "theirs")
    file.write_text(TABLES.replace(*theirs))
    commit(tmp_path, "theirs")
    sh(tmp_path, "git", "checkout", "--quiet", "-")
    assert sh(tmp_path, "git", "merge", "theirs", check=False).returncode == 1
    settle(tmp_path)
    assert ("<<<<<<<" not in file.read_text()) == settled
