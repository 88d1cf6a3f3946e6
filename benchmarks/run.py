"""Measures what this template promises about time and size, each as a ratio to what it cannot do without.

    uv run benchmarks/run.py              all four; it takes some minutes and needs a package index
    uv run benchmarks/run.py check run    some of them

| name        | measured                                        | compared with                         | at most |
| ----------- | ----------------------------------------------- | ------------------------------------- | ------- |
| render      | a project rendered by Copier                    | an empty template rendered by Copier  | 3.00    |
| check       | the command `check` of a complete project       | a Python that imports pydantic-settings | 2.00  |
| run         | a run in a process of its own, forked           | the same work in one process          | 1.10    |
| environment | the bytes of an environment without dev         | the same without exclude-dependencies | 0.50    |

Both sides of a pair are measured in turns (A B A B ...), so that a busy machine slows both, and the medians are compared.
The exit code is 1 if a ratio is above its bound.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

from projects import commit, publish, render, sh, size_of

ONE_RUN = Path(__file__).parent / "one_run.py"
RENDER_TURNS = 7
CHECK_TURNS = 15
RUN_TURNS = 3
MODEL_SECONDS = 2.0
MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Measured:
    """One promise: both medians in the same unit, and how many times the second the first may be."""

    name: str
    ours: float
    theirs: float
    unit: str
    bound: float

    @property
    def ratio(self) -> float:
        return self.ours / self.theirs

    @property
    def holds(self) -> bool:
        return self.ratio <= self.bound

    def __str__(self) -> str:
        said = "ok" if self.holds else "too large" if self.unit == "MB" else "too slow"
        medians = f"{self.ours:9.3f} {self.theirs:9.3f} {self.unit:4}"
        return f"{self.name:12} {medians} {self.ratio:6.2f} {self.bound:6.2f}  {said}"


class Benchmarks:
    """The measurements; each method named as on the command line. Works below `place`, which the caller removes."""

    def __init__(self, place: Path) -> None:
        self._place = place

    @cached_property
    def _template(self) -> Path:
        return publish(self._place / "template")

    @cached_property
    def _project(self) -> Path:
        """The project of the default answers, installed."""
        project = render(self._template, self._place / "my-crew")
        sh(project, "uv", "sync", "--quiet")
        return project

    def render(self) -> Measured:
        """Copier with this template, and with one that holds a single file."""
        empty = self._place / "empty"
        empty.mkdir()
        (empty / "copier.yml").touch()
        (empty / "README.md").touch()
        commit(empty)
        places = (self._place / f"rendered-{number}" for number in range(10_000))
        ours, theirs = in_turns(
            lambda: render(self._template, next(places)), lambda: render(empty, next(places)), RENDER_TURNS
        )
        return Measured("render", ours, theirs, "s", 3)

    def check(self) -> Measured:
        """Whole processes, from start to end: the installed command, and the least that it has to import."""
        commands = self._project / ".venv/bin"
        ours, theirs = in_turns(
            partial(sh, self._project, str(commands / "my-crew"), "check", OPENAI_API_KEY="sk-of-the-benchmark"),
            partial(sh, self._project, str(commands / "python"), "-c", "import pydantic_settings"),
            CHECK_TURNS,
        )
        return Measured("check", ours, theirs, "s", 2)

    def run(self) -> Measured:
        """Runs of the project's application with a slow model, by its own interpreter."""
        arguments = ("--turns", str(RUN_TURNS), "--model-seconds", str(MODEL_SECONDS))
        done = sh(self._project, str(self._project / ".venv/bin/python"), str(ONE_RUN), *arguments)
        seconds = json.loads(done.stdout.splitlines()[-1])
        return Measured("run", *(statistics.median(seconds[side]) for side in ("forked", "here")), "s", 1.1)

    def environment(self) -> Measured:
        """Two environments of one project, with and without the list of what is left out."""
        slim = render(self._template, self._place / "slim")
        full = render(self._template, self._place / "full")
        _exclude_nothing(full / "pyproject.toml")
        sizes = []
        for project in (slim, full):
            environment = project.with_suffix(".venv")
            sh(project, "uv", "sync", "--quiet", "--no-dev", UV_PROJECT_ENVIRONMENT=str(environment))
            sizes.append(size_of(environment) / MEGABYTE)
        return Measured("environment", sizes[0], sizes[1], "MB", 0.5)


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


def main() -> int:
    """Measure what is asked for and print it."""
    names = ["render", "check", "run", "environment"]
    parser = argparse.ArgumentParser(description="Measures what this template promises about time and size.")
    parser.add_argument("names", nargs="*", metavar="name", help=f"{', '.join(names)}; all if none is named")
    chosen = parser.parse_args().names or names
    if unknown := set(chosen) - set(names):
        parser.error(f"there is no {', '.join(sorted(unknown))}: give some of {', '.join(names)}")
    print(f"{'what':12} {'measured':>9} {'against':>9} {'':4} {'ratio':>6} {'bound':>6}", flush=True)
    held = True
    with tempfile.TemporaryDirectory() as place:
        benchmarks = Benchmarks(Path(place))
        for name in chosen:
            measured: Measured = getattr(benchmarks, name)()
            print(measured, flush=True)
            held = held and measured.holds
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
