"""A copy of a rendered project, and what its scaling tests say about it."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

SECONDS = 600


@dataclass(frozen=True)
class Case:
    """How one test ended, in one of its forms. ended: "passed", "failure", "error" or "skipped", with what it said."""

    name: str
    ended: str
    said: str = ""


def copy_of(project: Path, place: Path) -> Path:
    """The project's files at another place, without its environment."""
    shutil.copytree(project, place, ignore=shutil.ignore_patterns(".venv", "__pycache__", ".git", ".*_cache"))
    return place


def scaling_tests(place: Path, project: Path, *arguments: str) -> list[Case]:
    """Run tests of a copy: in the environment of the project that it is a copy of, with this place's code."""
    report = place / "report.xml"
    sources = os.pathsep.join(str(place / each) for each in ("src", "runtime/src"))
    python = project / ".venv/bin/python"
    done = subprocess.run(
        [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", *arguments],
        cwd=place,
        env={**os.environ, "PYTHONPATH": sources},
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )
    assert report.exists(), done.stdout + done.stderr
    return [_case(each) for each in ElementTree.parse(report).iter("testcase")]


def failures(cases: list[Case]) -> dict[str, str]:
    """What failed, by the name of the test, with what it said."""
    return {case.name: case.said for case in cases if case.ended in ("failure", "error")}


def _case(element: ElementTree.Element) -> Case:
    name = element.attrib["name"].partition("[")[0]
    for kind in ("failure", "error", "skipped"):
        if (said := element.find(kind)) is not None:
            return Case(name, kind, f"{said.attrib.get('message', '')}\n{said.text}")
    return Case(name, "passed")
