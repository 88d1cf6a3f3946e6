"""F12 and F08 as ruff sees them, as findings of ours."""

import ast
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from crewyard.doctor import ruff
from crewyard.doctor.findings import Finding
from crewyard.doctor.project import Project
from crewyard.doctor.roles import is_helper, is_tool
from crewyard.doctor.source import Source

WORTH_ASKING = re.compile(r"async def|requests|httpx")


def worth_asking(members: Iterable[tuple[Path, Source]]) -> list[Path]:
    """The modules in which ruff may find something."""
    return [path for path, source in members if WORTH_ASKING.search(source.text)]


def findings(
    project: Project, members: Iterable[tuple[Path, Source]], diagnostics: Mapping[Path, Sequence[ruff.Diagnostic]]
) -> Iterator[Finding]:
    """What ruff has found in the modules of a project. diagnostics: by the paths of files."""
    for path, source in members:
        for one in diagnostics.get(path, ()):
            call = _call_at(source, one.line, one.column)
            if call and not source.where[call].main:
                yield _translated(project, source, call, one.code)


def _translated(project: Project, source: Source, call: ast.Call, code: str) -> Finding:
    name = source.name(call.func) or "this call"
    if code == ruff.NO_TIMEOUT:
        certain = any(
            is_tool(source, function, project) or is_helper(source, function, project)
            for function in source.functions(call)
        )
        seen, edit = f"{name}() waits without a timeout", "give it timeout=10, in seconds"
        return source.found(call, "F08", "error" if certain else "hint", seen, edit)
    at_a_terminal = name == "input"  # nobody else waits there
    certain = code != ruff.FILES and not at_a_terminal
    return source.found(call, "F12", "error" if certain else "hint", f"{name}() blocks the event loop")


def _call_at(source: Source, line: int, column: int) -> ast.Call | None:
    """The call that starts, or is named, at a place of ruff's."""
    at = [call for call in source.of(ast.Call) if call.lineno == line and call.col_offset < column]
    return max(
        at, key=lambda call: (call.col_offset, -(call.end_lineno or 0), -(call.end_col_offset or 0)), default=None
    )
