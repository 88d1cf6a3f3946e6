"""Comments that accept a finding: `# crewyard: allow F05 because the report is one for all`."""

import io
import re
import tokenize
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from crewyard.doctor.findings import Finding

ALLOW = re.compile(
    r"#\s*crewyard:\s*allow\s+(?P<rules>F\d\d(?:\s*,\s*F\d\d)*)(?:\s+because\s+(?P<reason>\S.*))?", re.IGNORECASE
)


@dataclass
class Note:
    """line: where it stands. alone: nothing else stands on that line, so that it speaks of the next line of code."""

    line: int
    column: int
    alone: bool
    rules: frozenset[str]
    reason: str
    speaks_of: int
    used: set[str] = field(default_factory=set)


def of_python(text: str) -> list[Note]:
    """The notes of a Python file that parses. A string that says the same is none."""
    if "crewyard:" not in text:
        return []
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
    except (tokenize.TokenError, SyntaxError, IndentationError):
        return []
    return _notes(
        text, ((token.start[0], token.start[1], token.string) for token in tokens if token.type == tokenize.COMMENT)
    )


def of_lines(text: str) -> list[Note]:
    """The notes of a Dockerfile, a compose file or any other that comments with #."""
    lines = text.splitlines() if "crewyard:" in text else []
    return _notes(
        text, ((number, line.find("#"), line[line.find("#") :]) for number, line in enumerate(lines, 1) if "#" in line)
    )


def _notes(text: str, comments: Iterable[tuple[int, int, str]]) -> list[Note]:
    lines = text.splitlines()
    found = []
    for line, column, comment in comments:
        if match := ALLOW.search(comment):
            rules = frozenset(one.strip().upper() for one in match["rules"].split(","))
            alone = not lines[line - 1][:column].strip()
            found.append(
                Note(
                    line,
                    column + 1,
                    alone,
                    rules,
                    (match["reason"] or "").strip(),
                    _next_code(lines, line) if alone else line,
                )
            )
    return found


def _next_code(lines: list[str], line: int) -> int:
    """The next line that holds more than a comment."""
    for number in range(line + 1, len(lines) + 1):
        stripped = lines[number - 1].strip()
        if stripped and not stripped.startswith("#"):
            return number
    return line


def sort_out(
    path: str, findings: Iterable[Finding], notes: list[Note]
) -> tuple[list[Finding], list[tuple[Finding, str]]]:
    """What is left of a file's findings, and what was accepted and why. A note without effect is a hint of its own."""
    left: list[Finding] = []
    accepted: list[tuple[Finding, str]] = []
    for finding in findings:
        note = next((one for one in notes if finding.rule in one.rules and _speaks_of(one, finding)), None)
        if note is None:
            left.append(finding)
            continue
        note.used.add(finding.rule)
        if note.reason:
            accepted.append((finding, note.reason))
        else:
            left.append(
                replace(finding, seen=f"{finding.seen} (not accepted: the comment gives no reason, `because ...`)")
            )
    return left + list(_idle(path, notes)), accepted


def _speaks_of(note: Note, finding: Finding) -> bool:
    first, last = finding.first or finding.line, finding.end or finding.line
    return (
        first <= note.speaks_of <= last
        or (not note.alone and first <= note.line <= last)
        or note.speaks_of == finding.line
    )


def _idle(path: str, notes: list[Note]) -> Iterator[Finding]:
    for note in notes:
        for rule in sorted(note.rules - note.used):
            yield Finding(
                path,
                note.line,
                note.column,
                rule,
                "hint",
                f"this comment allows {rule}, and nothing is found here",
                "remove the comment",
            )
