"""What of the team's code is written for another framework than the one that the project has now."""

import ast
from collections.abc import Iterator
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

from crewyard_runtime.application import ENTRY_POINTS
from crewyard_runtime.frameworks import FRAMEWORKS
from crewyard_runtime.settings import find_project


def files_to_port(framework: str) -> Iterator[tuple[str, str]]:
    """Each file of the team that imports a framework which is not installed any more, and the package it imports."""
    others = {package for name, packages in FRAMEWORKS.items() if name != framework for package in packages}
    gone = {package for package in others if find_spec(package) is None}
    project = find_project()
    for place in _places(project):
        for file in sorted(place.rglob("*.py")):
            found = sorted(gone & set(_imported(file)))
            if found:
                shown = file.relative_to(project) if project and file.is_relative_to(project) else file
                yield str(shown), found[0]


def _places(project: Path | None) -> Iterator[Path]:
    packages = {point.module.partition(".")[0] for point in entry_points(group=ENTRY_POINTS)}
    for package in sorted(packages):
        spec = find_spec(package)
        yield from map(Path, (spec.submodule_search_locations if spec else None) or [])
    if project:
        yield project / "tests" / "unit"


def _imported(file: Path) -> Iterator[str]:
    """The top-level packages that a file imports, anywhere in it; none of one that is no Python."""
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]
