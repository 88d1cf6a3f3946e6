"""Each rule finds what it must, and nothing in what only looks like it."""

import re
from pathlib import Path

import pytest

from crewyard.doctor.check import check

CASES = Path(__file__).parent / "cases"
MARK = re.compile(r"\b(finds|hints)((?: F\d\d)+)")
SEVERITIES = {"finds": "error", "hints": "hint"}


def expected(path: Path) -> set[tuple[str, int, str, str]]:
    """What the marks of a file say: on their own line they speak of the next."""
    found = set()
    for number, line in enumerate(path.read_text().splitlines(), 1):
        for verb, rules in MARK.findall(line.partition("#")[2]):
            place = number + 1 if line.strip().startswith("#") else number
            found |= {(path.name, place, rule, SEVERITIES[verb]) for rule in rules.split()}
    return found


@pytest.mark.parametrize("case", sorted(one.name for one in CASES.iterdir() if not one.name.startswith(("_", "."))))
def test_the_doctor_finds_exactly_the_marked_lines(case: str) -> None:
    place = CASES / case
    files = [place] if place.is_file() else [one for one in place.rglob("*") if one.is_file()]
    wanted = {mark for one in files for mark in expected(one)}
    report = check([place])
    assert report.not_read == []
    assert {(Path(one.path).name, one.line, one.rule, one.severity) for one in report.findings} == wanted
