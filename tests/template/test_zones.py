"""Every file of a project is in exactly one zone, and copier.yml treats it so."""

import re
import shutil
from pathlib import Path

import copier
import pytest
from conftest import REPOSITORY, Render, commit

from crewyard import zones

TABLE = dict(re.findall(r"^\| `([^`]+)` \| (\w+) \|$", (REPOSITORY / "docs/zones.md").read_text("utf-8"), re.MULTILINE))
TEAM = [path for path, zone in TABLE.items() if zone == "team"]


def _zones_of(file: str) -> list[str]:
    return [path for path in TABLE if file == path or (path.endswith("/") and file.startswith(path))]


def _files(place: Path) -> dict[str, str]:
    paths = (path for path in place.rglob("*") if path.is_file() and ".git" not in path.relative_to(place).parts)
    return {str(path.relative_to(place)): path.read_text("utf-8") for path in paths}


def test_the_table_covers_every_file_once(render: Render) -> None:
    files = _files(render(porting=True, deploy="kubernetes"))
    assert not {file: zones for file in files if len(zones := _zones_of(file)) != 1}
    assert not [path for path in TABLE if not any(path in _zones_of(file) for file in files)]


def test_the_command_knows_the_same_zones() -> None:
    assert sorted(zones.TEAM) == sorted(TEAM)
    assert [path for path, zone in TABLE.items() if zone == "shared"] == [zones.SHARED]


@pytest.fixture
def edited(template: Path, tmp_path: Path) -> Path:
    """A project of the first release that its team has made its own; the template has a second release since.

    In the second release every file has changed, and the sample has one more.
    """
    releases = tmp_path / "releases"
    shutil.copytree(template, releases)
    place = tmp_path / "edited"
    copier.run_copy(str(releases), place, defaults=True, quiet=True, unsafe=False)
    _release_again(releases)
    commit(place, "copied")
    (place / "src/my_crew/crew.py").write_text("# our own crew\n")
    (place / "src/my_crew/ours.py").write_text("# ours\n")
    (place / "src/my_crew/tickets.jsonl").unlink()
    (place / "tests/unit/test_support.py").write_text("# our own tests\n")
    (place / "README.md").write_text("# Ours\n")
    project = place / "pyproject.toml"
    project.write_text(project.read_text().replace('"crewyard-runtime",', '"crewyard-runtime",\n    "httpx>=0.28",'))
    commit(place, "edited")
    return place


def _release_again(releases: Path) -> None:
    for path in (releases / "template").rglob("*"):
        if path.suffix in (".py", ".jinja", ".toml", ".md", ".yaml") and "answers" not in path.name:
            mark = "<!-- next -->" if ".md" in path.name else "# next"
            path.write_text(f"{path.read_text('utf-8').rstrip()}\n{mark}\n", "utf-8")
    sample = next((releases / "template/src").iterdir())
    (sample / "added_by_the_template.py").write_text("# next\n", "utf-8")
    commit(releases, "next", tag="0.2.0")


def _team_zone(place: Path) -> dict[str, str]:
    return {file: text for file, text in _files(place).items() if file.startswith(tuple(TEAM))}


def test_an_update_leaves_the_teams_zone_alone(edited: Path) -> None:
    before = _team_zone(edited)
    copier.run_update(edited, defaults=True, overwrite=True, quiet=True, unsafe=False)
    after = _files(edited)
    assert _team_zone(edited) == before
    assert not [file for file, text in after.items() if "<<<<<<<" in text or file.endswith(".rej")]
    assert after["runtime/src/crewyard_runtime/limits.py"].endswith("# next\n")
    assert '"httpx>=0.28"' in after["pyproject.toml"]
    assert after["pyproject.toml"].endswith("# next\n")


def test_a_recopy_leaves_the_teams_files_alone(edited: Path) -> None:
    before = _team_zone(edited)
    copier.run_recopy(edited, defaults=True, overwrite=True, quiet=True, unsafe=False)
    after = _team_zone(edited)
    assert {file: after.get(file) for file in before} == before
    assert _files(edited)["runtime/src/crewyard_runtime/limits.py"].endswith("# next\n")


def test_the_package_name_is_frozen(edited: Path) -> None:
    with pytest.raises(ValueError, match='called "my_crew" since the first copy'):
        copier.run_update(edited, data={"package_name": "other"}, defaults=True, overwrite=True, quiet=True)


def test_the_package_name_stays_frozen_over_updates(edited: Path) -> None:
    copier.run_update(edited, defaults=True, overwrite=True, quiet=True, unsafe=False)
    commit(edited, "updated")
    with pytest.raises(ValueError, match='called "my_crew" since the first copy'):
        copier.run_update(edited, data={"package_name": "other"}, defaults=True, overwrite=True, quiet=True)
