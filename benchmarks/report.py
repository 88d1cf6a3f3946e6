"""How a measurement is told, for all benchmarks: one row each, and an exit code."""

import argparse
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Measured:
    """One promise: what was measured and what it is compared with, in one unit, and the bound of their ratio.

    at_least: the bound is the least that the ratio may be; else it is the most.
    """

    name: str
    ours: float
    theirs: float
    unit: str
    bound: float
    at_least: bool = False

    @property
    def ratio(self) -> float:
        return self.ours / self.theirs

    @property
    def holds(self) -> bool:
        return self.ratio >= self.bound if self.at_least else self.ratio <= self.bound

    def __str__(self) -> str:
        said = "ok" if self.holds else "TOO LOW" if self.at_least else "TOO HIGH"
        figures = f"{self.ours:9.3f} {self.theirs:9.3f} {self.unit:6}"
        return f"{self.name:32} {figures} {self.ratio:6.2f} {'>=' if self.at_least else '<='} {self.bound:4.2f}  {said}"


def report(description: str, measurements: Mapping[str, Callable[[], Iterable[Measured]]]) -> int:
    """Measure what the command line names, or everything, and print it. 1 if a bound does not hold, else 0."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("names", nargs="*", metavar="name", help=f"{', '.join(measurements)}; all if none is named")
    chosen = parser.parse_args().names or measurements
    if unknown := set(chosen) - set(measurements):
        parser.error(f"there is no {', '.join(sorted(unknown))}: give some of {', '.join(measurements)}")
    print(f"{'what':32} {'measured':>9} {'against':>9} {'':6} {'ratio':>6} {'bound':>7}", flush=True)
    held = True
    for name in chosen:
        for measured in measurements[name]():
            print(measured, flush=True)
            held = held and measured.holds
    return 0 if held else 1
