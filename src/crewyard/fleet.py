"""`crewyard fleet`: how many projects stand, as a table or JSON."""

import argparse
import gc
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crewyard.errors import NotPossible
from crewyard.project import ANSWERS, Made, Project
from crewyard.standards import STANDARDS, Standards
from crewyard.template import Template, is_of, version

if TYPE_CHECKING:
    from crewyard.doctor.report import Report

FOUND = 1
SKIPPED = ("node_modules", "site-packages")
DEEPEST = 4  # directories below a folder
AT_ONCE = 20  # projects that the doctor reads together; processes are worth it for more
HEADS = ("project", "release", "behind", "other than the standards", "doctor")


@dataclass(frozen=True)
class Standing:
    """One project. behind: how many releases. behind_on_top: the newest of each company's template that it is behind.

    differing: locked answers, what is there and what should be.

    problem: why nothing can be said of it.
    """

    path: str
    name: str = ""
    framework: str = ""
    release: str = ""
    newest: str = ""
    behind: int = 0
    behind_on_top: dict[str, str] = field(default_factory=dict)
    differing: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    errors: int = 0
    hints: int = 0
    problem: str = ""

    @property
    def well(self) -> bool:
        """Whether nothing is to be done."""
        return not (self.behind or self.behind_on_top or self.differing or self.errors or self.problem)


def add_to(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the subcommand and its arguments."""
    parser = commands.add_parser("fleet", help="look at many projects", description=__doc__)
    parser.add_argument("paths", metavar="PATH", nargs="+", type=Path, help="a project, or a folder that holds some")
    parser.add_argument(
        "--list", action="store_true", help="each PATH is a file with the path of a project on each line"
    )
    parser.add_argument("--standards", type=Path, metavar="FILE", help="judge all by this one, not each by its own")
    parser.add_argument("--no-doctor", action="store_true", help="do not look into the teams' code")
    parser.add_argument("--format", choices=("table", "json"), default="table", help="default: table")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Returns 0, or 1 if something is to be done in a project. Raises NotPossible if there is none."""
    found = _listed(arguments.paths) if arguments.list else _found(arguments.paths)
    places = list({place.absolute(): place for place in found}.values())
    if not places:
        msg = f"No {ANSWERS} is below {', '.join(map(str, arguments.paths))}: give projects that Copier made."
        raise NotPossible(msg)
    if arguments.standards and not arguments.standards.is_file():
        msg = f"{arguments.standards} is no file: give the {STANDARDS} of a project of your company."
        raise NotPossible(msg)
    standards = Standards.read(arguments.standards) if arguments.standards else None
    standing = [_look(place, standards) for place in places]
    if not arguments.no_doctor:
        standing = _examined(standing)
    print(_as_json(standing) if arguments.format == "json" else _as_table(standing))
    return 0 if all(one.well for one in standing) else FOUND


def _listed(files: list[Path]) -> Iterator[Path]:
    for file in files:
        try:
            lines = file.read_text("utf-8").splitlines()
        except (OSError, ValueError) as error:
            msg = f"{file} is no list of projects: {error}"
            raise NotPossible(msg) from error
        # Paths in a list are meant from its directory.
        named = (line.partition(" #")[0].strip() for line in lines)
        yield from (file.parent / line for line in named if line and not line.startswith("#"))


def _found(folders: list[Path]) -> Iterator[Path]:
    for folder in folders:
        if not folder.is_dir():
            msg = (
                f"{folder} is no directory: give a project, or a folder that holds some; a list of paths takes --list."
            )
            raise NotPossible(msg)
        deepest = len(folder.parts) + DEEPEST
        for directory, below, files in os.walk(folder):
            if ANSWERS in files:
                yield Path(directory)
            inside = ANSWERS in files or len(Path(directory).parts) >= deepest
            below[:] = [] if inside else sorted(one for one in below if not one.startswith(".") and one not in SKIPPED)


def _look(place: Path, standards: Standards | None) -> Standing:
    try:
        project = Project(place)
        made = project.made
        releases = _releases(made.source, place)
        if not is_of(made.release, releases):
            msg = (
                f"The template has no release {made.release}, of which this project is; there is {', '.join(releases)}."
            )
            raise NotPossible(msg)
        demanded = standards or Standards.read(place)
        return Standing(
            str(place),
            str(made.answers.get("project_name", place.name)),
            str(made.answers.get("framework", "crewai")),
            made.release,
            releases[-1],
            sum(version(one) > version(made.release) for one in releases),
            {each.file: newest for each in project.made_on_top if (newest := _newer(each, place))},
            demanded.differing(made.answers),
        )
    except NotPossible as error:
        return Standing(str(place), place.name, problem=str(error))


def _newer(made: Made, place: Path) -> str:
    """The newest release of a template, if what it made is older."""
    newest = _releases(made.source, place)[-1]
    return newest if version(newest) > version(made.release) else ""


def _releases(source: str, place: Path) -> tuple[str, ...]:
    """Asked once for each template, however many projects are made of it."""
    releases = _asked(Template(source, below=place).url)
    if isinstance(releases, NotPossible):
        raise releases
    return releases


@cache
def _asked(url: str) -> tuple[str, ...] | NotPossible:
    """Its releases, or why it has none: one that does not answer is not asked for each of its projects."""
    template = Template(url)
    try:
        return (*template.releases[:-1], template.newest)
    except NotPossible as error:
        return error


def _examined(standing: list[Standing]) -> list[Standing]:
    """The same with what the doctor finds in the team's own files; of the managed ones it has nothing new to say."""
    from crewyard.doctor import check  # noqa: F401  (once, before there are processes)

    groups = [standing[start : start + AT_ONCE] for start in range(0, len(standing), AT_ONCE)]
    if len(groups) == 1:
        return _diagnosed(standing)
    with ProcessPoolExecutor(min(len(groups), os.cpu_count() or 1)) as pool:
        return [one for group in pool.map(_diagnosed, groups) for one in group]


def _diagnosed(standing: Sequence[Standing]) -> list[Standing]:
    from crewyard.doctor.check import check_each

    there = {one.path: Path(one.path) for one in standing if not one.problem}
    gc.disable()  # as the doctor's own command
    try:
        reports = dict(zip(there, check_each(there.values()), strict=True))
    finally:
        gc.enable()
    return [_with_report(one, reports.get(one.path)) for one in standing]


def _with_report(one: Standing, report: "Report | None") -> Standing:
    return one if report is None else replace(one, errors=report.errors, hints=len(report.findings) - report.errors)


def _as_json(standing: list[Standing]) -> str:
    return json.dumps([asdict(one) for one in standing], indent=2, ensure_ascii=False, default=str)


def _as_table(standing: list[Standing]) -> str:
    rows = [HEADS, *map(_row, standing)]
    wide = [max(len(row[column]) for row in rows) for column in range(len(HEADS))]
    lines = ["  ".join(f"{cell:{width}}" for cell, width in zip(row, wide, strict=True)).rstrip() for row in rows]
    behind = sum(bool(one.behind or one.behind_on_top) for one in standing)
    differing = sum(bool(one.differing) for one in standing)
    ill = sum(bool(one.errors) for one in standing)
    lines += [f"{one.path}: {one.problem}" for one in standing if one.problem]
    return "\n".join(
        [
            *lines,
            "",
            f"projects: {len(standing)}, behind: {behind}, other than the standards: {differing}, with errors: {ill}, "
            f"not read: {sum(bool(one.problem) for one in standing)}",
        ]
    )


def _row(one: Standing) -> tuple[str, ...]:
    if one.problem:
        return one.path, "?", "", "", ""
    differing = ", ".join(f"{name}: {is_} for {should}" for name, (is_, should) in one.differing.items())
    found = ", ".join([f"errors: {one.errors}"] * bool(one.errors) + [f"hints: {one.hints}"] * bool(one.hints))
    behind = [f"{one.behind} to {one.newest}"] * bool(one.behind)
    behind += [
        f"{file.removeprefix('.copier-answers.').removesuffix('.yml')} to {to}"
        for file, to in one.behind_on_top.items()
    ]
    return one.path, one.release, ", ".join(behind), differing, found
