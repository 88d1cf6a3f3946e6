"""Whoever changes what projects receive says so in CHANGELOG.md; a release has its archive here."""

import re
from pathlib import Path

import pytest
from conftest import REPOSITORY
from packaging.version import Version
from updates.conftest import Make
from updates.looked_at import contents
from updates.releases import head, released

from crewyard.template import changes

CHANGELOG = (REPOSITORY / "CHANGELOG.md").read_text("utf-8")
ZONES = re.findall(r"^\| `([^`]+)` \|", (REPOSITORY / "docs/zones.md").read_text("utf-8"), re.MULTILINE)
# Every framework and every choice that brings files of its own.
SETS: tuple[dict[str, str], ...] = (
    {"deploy": "kubernetes", "secrets": "aws", "broker": "sqs", "auth": "oidc"},
    {"framework": "autogen", "broker": "rabbitmq", "memory": "qdrant", "code_execution": "docker"},
    {"framework": "agentchat", "memory": "none", "secrets": "gcp"},
    {"framework": "agent-framework", "memory": "mem0-cloud", "secrets": "azure"},
)
# What no update brings into a project, and the file that each release changes.
NOT_TOLD = ("src/", "tests/unit/", "README.md", ".gitignore", ".copier-answers.yml")


def entries(changed: set[str]) -> set[str]:
    """The rows of docs/zones.md that the files are in."""
    rows = {
        file: [row for row in ZONES if file == row or (row.endswith("/") and file.startswith(row))] for file in changed
    }
    assert all(rows.values()), rows
    return {row for found in rows.values() for row in found}


def changed(originals: Make, before: str, after: str) -> set[str]:
    """The files that two releases make differently."""
    found: set[str] = set()
    for answers in SETS:
        old, new = contents(originals(before, **answers)), contents(originals(after, **answers))
        found |= {name for name in old.keys() | new.keys() if old.get(name) != new.get(name)}
    return {name for name in found if not name.startswith(NOT_TOLD)}


def missing(section: str, files: set[str]) -> list[str]:
    """What a section of the changelog does not name. A directory may be named by anything in it."""
    return sorted(row for row in entries(files) if f"`{row.rstrip('/')}" not in section)


def test_every_change_since_the_last_release_is_in_the_changelog(originals: Make) -> None:
    last = released()[-1]
    files = changed(originals, last, head())
    section = changes(CHANGELOG, last, head())
    told = f"these changed since {last}; name each in CHANGELOG.md, below a heading for the next release"
    assert not missing(section, files), f"{told}: {missing(section, files)}"


def test_a_change_that_is_not_told_is_found(releases: Path, originals: Make, tmp_path: Path) -> None:
    files = changed(originals, "0.5.0", "0.6.0")
    assert "Dockerfile" in files
    section = changes(CHANGELOG, "0.5.0", "0.6.0")
    assert "`Dockerfile" in section
    assert "Dockerfile" in missing(section.replace("`Dockerfile", "the image"), files)


def test_every_release_has_its_section_and_its_archive() -> None:
    told = re.findall(r"^## (\S+)", CHANGELOG, re.MULTILINE)
    assert told == sorted(told, key=Version, reverse=True)
    assert set(released()) <= set(told)
    # The newest may be on its way.
    assert not {version for version in told[1:] if Version(version) >= Version(released()[0])} - set(released())


@pytest.mark.parametrize("release", released())
def test_an_archive_is_what_its_release_made(originals: Make, release: str) -> None:
    place = originals(release)
    assert f"_commit: {release}\n" in (place / ".copier-answers.yml").read_text()
