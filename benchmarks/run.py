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

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import copier

REPOSITORY = Path(__file__).parent.parent
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
        return Measured("run", statistics.median(seconds["forked"]), statistics.median(seconds["here"]), "s", 1.1)

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


def sh(place: Path, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command in `place`, outside of this repository's environment; ends the benchmarks if it fails."""
    inherited = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "OPENAI_API_KEY")}
    done = subprocess.run(
        command,
        cwd=place,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**inherited, "UV_PYTHON": sys.executable, "UV_PYTHON_DOWNLOADS": "never", **environment},
        timeout=1_200,
    )
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
    return done


def commit(place: Path) -> None:
    """Make a directory a git repository with all it holds in one commit."""
    sh(place, "git", "init", "--quiet", "--initial-branch=main")
    sh(place, "git", "add", "--all")
    who = ("-c", "user.name=benchmark", "-c", "user.email=benchmark@example.org")
    sh(place, "git", *who, "commit", "--quiet", "-m", "All of it")


def publish(place: Path) -> Path:
    """What git would publish of this working tree, committed, so that no side pays for a dirty one."""
    listed = sh(REPOSITORY, "git", "ls-files", "--cached", "--others", "--exclude-standard", "-z").stdout
    for name in filter(None, listed.split("\0")):
        if (REPOSITORY / name).is_file():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, place / name)
    commit(place)
    return place


def render(template: Path, place: Path) -> Path:
    """A project of the default answers."""
    copier.run_copy(str(template), place, vcs_ref="HEAD", defaults=True, quiet=True)
    return place


def copy(template: Path, place: Path) -> None:
    """Run the command. (By its API alone the ratio is about 3.5: Copier starts git once for each file.)"""
    command = str(Path(sys.executable).parent / "copier")
    sh(template, command, "copy", "--quiet", "--defaults", "--vcs-ref", "HEAD", str(template), str(place))


def size_of(directory: Path) -> int:
    """The bytes of all files below, symbolic links not followed."""
    return sum(path.lstat().st_size for path in directory.rglob("*") if not path.is_dir())


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
