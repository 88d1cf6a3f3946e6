"""Measures what this template promises about time and size, each as a ratio to what it cannot do without.

    uv run benchmarks/run.py              all four; it takes some minutes and needs a package index
    uv run benchmarks/run.py check run    some of them

| name        | measured                                | compared with                           | at most |
| ----------- | --------------------------------------- | --------------------------------------- | ------- |
| render      | the command `copier copy`               | the same with a template of one file    | 3.00    |
| check       | the command `check`, nothing missing    | a Python that imports pydantic-settings | 2.00    |
| run         | a run in a process of its own, forked   | the same work in one process            | 1.10    |
| environment | the bytes installed, without dev        | the same without exclude-dependencies   | 0.50    |

Both sides of a pair are measured in turns (A B A B ...), so that a busy machine slows both, and their medians are
compared; an environment is made once, because its size does not change. Exit code 1: a ratio is above its bound.
"""

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path

from project import commit, publish, render, sh
from report import Measured, report

ONE_RUN = Path(__file__).parent / "one_run.py"
RENDER_TURNS = 7
CHECK_TURNS = 15
RUN_TURNS = 3
MODEL_SECONDS = 2.0
MEGABYTE = 1_000_000


class Benchmarks:
    """The measurements; each method named as on the command line. Works below `place`, which the caller removes."""

    def __init__(self, place: Path, framework: str = "crewai") -> None:
        self._place = place
        self._framework = framework

    @cached_property
    def _template(self) -> Path:
        return publish(self._place / "template")

    @cached_property
    def _project(self) -> Path:
        """The project of the framework, installed."""
        project = render(self._template, self._place / "my-crew", self._framework)
        sh(project, "uv", "sync", "--quiet")
        return project

    def render(self) -> list[Measured]:
        """The command `copier copy` with this template, and with one that holds a single file."""
        empty = self._place / "empty"
        empty.mkdir()
        (empty / "copier.yml").touch()
        (empty / "README.md").touch()
        commit(empty)
        places = (self._place / f"rendered-{number}" for number in range(10_000))
        ours, theirs = in_turns(
            lambda: copy(self._template, next(places)), lambda: copy(empty, next(places)), RENDER_TURNS
        )
        return [Measured("render", ours, theirs, "s", 3)]

    def check(self) -> list[Measured]:
        """Whole processes, from start to end: the installed command, and the least that it has to import."""
        commands = self._project / ".venv/bin"
        ours, theirs = in_turns(
            partial(sh, self._project, str(commands / "my-crew"), "check", OPENAI_API_KEY="sk-of-the-benchmark"),
            partial(sh, self._project, str(commands / "python"), "-c", "import pydantic_settings"),
            CHECK_TURNS,
        )
        return [Measured("check", ours, theirs, "s", 2)]

    def run(self) -> list[Measured]:
        """Runs of the project's application with a slow model, by its own interpreter."""
        arguments = ("--turns", str(RUN_TURNS), "--model-seconds", str(MODEL_SECONDS))
        done = sh(self._project, str(self._project / ".venv/bin/python"), str(ONE_RUN), *arguments)
        seconds = json.loads(done.stdout.splitlines()[-1])
        return [Measured("run", statistics.median(seconds["forked"]), statistics.median(seconds["here"]), "s", 1.1)]

    def environment(self) -> list[Measured]:
        """Two environments of one project, with and without the list of what is left out."""
        slim = render(self._template, self._place / "slim")
        full = render(self._template, self._place / "full")
        _exclude_nothing(full / "pyproject.toml")
        sizes = []
        for project in (slim, full):
            environment = project.with_suffix(".venv")
            sh(project, "uv", "sync", "--quiet", "--no-dev", UV_PROJECT_ENVIRONMENT=str(environment))
            sizes.append(size_of(environment) / MEGABYTE)
        return [Measured("environment", sizes[0], sizes[1], "MB", 0.5)]


def _exclude_nothing(pyproject: Path) -> None:
    before, start, after = pyproject.read_text("utf-8").partition("exclude-dependencies = [\n")
    if not start:
        msg = f"{pyproject} has no exclude-dependencies: there is nothing to compare."
        raise ValueError(msg)
    pyproject.write_text(before + after.partition("\n]\n")[2], "utf-8")


def in_turns(ours: Callable[[], object], theirs: Callable[[], object], turns: int) -> tuple[float, float]:
    """The median seconds of both after a first turn that is not counted: it fills caches and compiles modules."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(1 + turns):
        for action, taken in zip((ours, theirs), seconds, strict=True):
            start = time.perf_counter()
            action()
            taken.append(time.perf_counter() - start)
    return statistics.median(seconds[0][1:]), statistics.median(seconds[1][1:])


def copy(template: Path, place: Path) -> None:
    """Run the command. (By its API alone the ratio is about 3.5: Copier starts git once for each file.)"""
    command = str(Path(sys.executable).parent / "copier")
    sh(template, command, "copy", "--quiet", "--defaults", "--vcs-ref", "HEAD", str(template), str(place))


def size_of(directory: Path) -> int:
    """The bytes of all files below, symbolic links not followed."""
    return sum(path.lstat().st_size for path in directory.rglob("*") if not path.is_dir())


def main() -> int:
    """Measure what is asked for and print it."""
    with tempfile.TemporaryDirectory() as place:
        benchmarks = Benchmarks(Path(place))
        return report(
            "Measures what this template promises about time and size.",
            {
                "render": benchmarks.render,
                "check": benchmarks.check,
                "run": benchmarks.run,
                "environment": benchmarks.environment,
            },
        )


if __name__ == "__main__":
    sys.exit(main())
