"""Measures what depends on the framework, for each of them: one table of ratios, of the foundation and the service.

    uv run benchmarks/frameworks.py                    all four, which takes about fifteen minutes
    uv run benchmarks/frameworks.py crewai agentchat   some of them

The rows are those of `run.py` (check, run) and `service.py` (start, memory), with their bounds; see there. A ratio with
a `!` is above its bound, and then the exit code is 1.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from report import Measured
from run import Benchmarks
from serving import memory, start
from serving.ground import Ground

FRAMEWORKS = tuple(memory.IMPORTS)


def measure(framework: str, place: Path, ground: Ground) -> Iterator[Measured]:
    """Every measurement of one framework."""
    foundation = Benchmarks(place, framework)
    yield from foundation.check()
    yield from foundation.run()
    yield start.build(ground, framework)
    yield from memory.measure(ground, framework)


def main() -> int:
    """Measure each framework that the command line names, or all, and print them side by side."""
    parser = argparse.ArgumentParser(description="Measures what depends on the framework.")
    parser.add_argument("names", nargs="*", metavar="framework", help=", ".join(FRAMEWORKS))
    chosen = parser.parse_args().names or list(FRAMEWORKS)
    if unknown := set(chosen) - set(FRAMEWORKS):
        parser.error(f"there is no {', '.join(sorted(unknown))}: give some of {', '.join(FRAMEWORKS)}")
    columns = []
    with tempfile.TemporaryDirectory() as place, Ground(Path(place)) as ground:
        for framework in chosen:
            below = Path(place) / f"foundation-{framework}"
            below.mkdir()
            columns.append(list(measure(framework, below, ground)))
            print(f"measured {framework}", file=sys.stderr, flush=True)
    print(f"{'ratio of':28}" + "".join(f"{name:>26}" for name in chosen))
    for row in zip(*columns, strict=True):
        print(f"{row[0].name:28}" + "".join(f"{_cell(each):>26}" for each in row))
    return 0 if all(each.holds for column in columns for each in column) else 1


def _cell(measured: Measured) -> str:
    mark = " " if measured.holds else "!"
    return f"{measured.ratio:.2f}{mark} ({measured.ours:.3g}/{measured.theirs:.3g} {measured.unit})"


if __name__ == "__main__":
    sys.exit(main())
