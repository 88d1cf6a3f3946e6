"""Measures what the life of a project after its first day costs, each as a ratio to what it is compared with.

    uv run benchmarks/upgrades.py              all three; it takes some minutes
    uv run benchmarks/upgrades.py fleet new    some of them

| name   | measured                                       | compared with                       | at most |
| ------ | ---------------------------------------------- | ----------------------------------- | ------- |
| update | Copier's update from the last release to this  | Copier's copy of this               | 4.00    |
| fleet  | the command `crewyard fleet`, for 200 projects | 10 seconds, on two cores            | 1.00    |
|        | the same                                       | for 100 projects                    | 2.30    |
| new    | the command `crewyard new`, without a lock     | the command `copier copy`           | 1.50    |

The template is a repository of all releases and this working tree (tests/updates/releases.py), so that nothing pays for
a dirty tree. No two projects of the fleet are alike: each release, a package of another name and other mistakes in it.
Both sides of a ratio are measured in turns, and their medians are compared. Exit code 1: a ratio is above its bound.
"""

import itertools
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import cache, cached_property, partial
from pathlib import Path

import copier
from project import REPOSITORY, commit, sh
from report import Measured, report
from run import in_turns

sys.path.append(str(REPOSITORY / "tests"))
from updates.releases import head, make_repository, released

UPDATES = NEWS = 7
FLEETS = 5
PROJECTS = 200
SECONDS = 10.0
COMMANDS = Path(sys.executable).parent
# A module that a team could have written: ruff is asked about it, and the doctor has something to say.
EDIT = """
import requests
from crewai.tools import tool

TIMES = {number}


@tool("Search {number}")
def search_{number}(query: str) -> str:
    "Search."
    return requests.get(f"https://example.org/{number}?q={{query}}").text


async def search_all_{number}(queries: list[str]) -> list[str]:
    return [search_{number}.run(query) for query in queries for _ in range(TIMES)]
"""


class Updates:
    """The measurements; each method named as on the command line. Works below `place`, which the caller removes."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._original = cache(self._rendered)
        self._numbers = itertools.count()

    def update(self) -> Iterator[Measured]:
        """By Copier's functions; the project of each update is made before, and a first pair is not counted."""
        last = next(version for version in reversed(released()) if version != head())
        projects = [self._committed(last) for _ in range(1 + UPDATES)]
        there = iter(projects)
        ours, theirs = in_turns(
            lambda: copier.run_update(next(there), defaults=True, overwrite=True, quiet=True, vcs_ref=head()),
            lambda: self._copy(head(), self._free()),
            UPDATES,
        )
        for project in projects:
            self._must_be_of(project, head())
        yield Measured(f"update from {last}", ours, theirs, "s", 4)

    def fleet(self) -> Iterator[Measured]:
        """Whole processes, from start to end."""
        half, rest = self._place / "fleet/half", self._place / "fleet/rest"
        for number in range(PROJECTS):
            self._make_one_of_many(number, half if number % 2 else rest)
        both, one = (half, rest), (half,)
        self._look_at(both, PROJECTS)
        ours, theirs = in_turns(
            partial(self._look_at, both, PROJECTS), partial(self._look_at, one, PROJECTS // 2), FLEETS
        )
        yield Measured(f"fleet of {PROJECTS}", ours, SECONDS, "s", 1)
        yield Measured(f"fleet of {PROJECTS} to {PROJECTS // 2}", ours, theirs, "s", 2.3)

    def new(self) -> Iterator[Measured]:
        """Whole processes, from start to end, of the newest release."""
        template = str(self._template)
        new = (str(COMMANDS / "crewyard"), "new", "--template", template, "--no-lock", "--yes")
        copy = (str(COMMANDS / "copier"), "copy", "--quiet", "--defaults", template)
        ours, theirs = in_turns(
            lambda: sh(self._place, *new, str(self._free())), lambda: sh(self._place, *copy, str(self._free())), NEWS
        )
        yield Measured("new", ours, theirs, "s", 1.5)

    @cached_property
    def _template(self) -> Path:
        return make_repository(self._place / "crewyard")

    def _free(self) -> Path:
        """A place where nothing is."""
        return self._place / f"project-{next(self._numbers)}"

    def _copy(self, version: str, place: Path) -> None:
        copier.run_copy(str(self._template), place, vcs_ref=version, defaults=True, quiet=True)

    def _rendered(self, version: str) -> Path:
        place = self._place / "originals" / version
        self._copy(version, place)
        return place

    def _committed(self, version: str) -> Path:
        """A project of a release as it is before an update."""
        place = self._free()
        shutil.copytree(self._original(version), place, symlinks=True)
        commit(place)
        return place

    def _must_be_of(self, project: Path, version: str) -> None:
        if f"_commit: {version}\n" not in (project / ".copier-answers.yml").read_text("utf-8"):
            sys.exit(f"{project} is not of {version}: the update that was measured did not happen.")

    def _make_one_of_many(self, number: int, folder: Path) -> None:
        """A project of the next release in turn, whose package is its own and has an edit."""
        versions = sorted({*released(), head()})
        # By pairs, so that both folders get the same releases.
        original = self._original(versions[number // 2 % len(versions)])
        place, package = folder / f"crew-{number}", f"crew_{number}"
        shutil.copytree(original, place, symlinks=True)
        (place / "src/my_crew").rename(place / "src" / package)
        team = [path for path in (place / "src").rglob("*") if path.is_file()]
        for path in [*team, place / "pyproject.toml", place / ".copier-answers.yml"]:
            text = path.read_text("utf-8")
            path.write_text(text.replace("my_crew", package).replace("my-crew", place.name), "utf-8")
        (place / "src" / package / "tools" / "search.py").write_text(EDIT.format(number=number))

    def _look_at(self, folders: tuple[Path, ...], expected: int) -> None:
        """Run the command, which ends with 1: most are behind. Ends the benchmark if it did not see all of them."""
        command = (str(COMMANDS / "crewyard"), "fleet", *map(str, folders))
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        summary = f"{expected} projects: "
        if not done.stdout.splitlines() or not done.stdout.splitlines()[-1].startswith(summary) or done.returncode != 1:
            sys.exit(f"{' '.join(command)} ended with {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")


def main() -> int:
    """Measure what is asked for and print it."""
    with tempfile.TemporaryDirectory() as place:
        updates = Updates(Path(place))
        return report(
            "Measures what the life of a project after its first day costs.",
            {"update": updates.update, "fleet": updates.fleet, "new": updates.new},
        )


if __name__ == "__main__":
    sys.exit(main())
