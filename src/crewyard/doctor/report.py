"""What was found, as text, JSON or annotations of GitHub Actions."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field

from crewyard.doctor.failures import FAILURES
from crewyard.doctor.findings import Finding, NotRead


@dataclass
class Report:
    """Everything a run of the doctor has to say. remarks: sentences about the project as a whole."""

    findings: list[Finding] = field(default_factory=list)
    accepted: list[tuple[Finding, str]] = field(default_factory=list)
    not_read: list[NotRead] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    files: int = 0

    @property
    def errors(self) -> int:
        """How many findings are errors."""
        return sum(finding.severity == "error" for finding in self.findings)


def text(report: Report) -> str:
    """For people: each finding with its edit, then why once for each rule, then a summary."""
    return "\n".join(_lines(report))


def _lines(report: Report) -> Iterator[str]:
    for finding in report.findings:
        yield f"{finding.path}:{finding.line}:{finding.column}  {finding.rule} {finding.severity}  {finding.seen}"
        yield f"    edit: {_edit(finding)}"
    rules = sorted({finding.rule for finding in report.findings})
    if rules:
        yield "\nwhy:"
        yield from (f"  {rule}  {FAILURES[rule].title}: {FAILURES[rule].why}" for rule in rules)
        yield ""
    yield from (
        f"accepted: {one.path}:{one.line}  {one.rule}  {one.seen}, because {reason}" for one, reason in report.accepted
    )
    yield from map(str, report.not_read)
    yield from report.remarks
    yield _summary(report)


def _summary(report: Report) -> str:
    hints = len(report.findings) - report.errors
    counts = [counted(report.errors, "error"), counted(hints, "hint")]
    if report.accepted:
        counts.append(f"{len(report.accepted)} accepted")
    return f"{', '.join(counts)} in {counted(report.files, 'file')}"


def counted(number: int, noun: str) -> str:
    """A number with its noun: "1 error", "2,000 errors"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _edit(finding: Finding) -> str:
    return finding.edit or FAILURES[finding.rule].edit


def _fields(finding: Finding) -> dict[str, object]:
    return {
        "rule": finding.rule,
        "severity": finding.severity,
        "path": finding.path,
        "line": finding.line,
        "column": finding.column,
        "seen": finding.seen,
        "why": FAILURES[finding.rule].why,
        "edit": _edit(finding),
    }


def as_json(report: Report) -> str:
    """For programs: {"findings": [...], "accepted": [...], "not_read": [...]}."""
    shown = {
        "findings": [_fields(finding) for finding in report.findings],
        "accepted": [{**_fields(finding), "reason": reason} for finding, reason in report.accepted],
        "not_read": [{"path": one.path, "line": one.line, "why": one.why} for one in report.not_read],
        "remarks": report.remarks,
    }
    return json.dumps(shown, indent=2, ensure_ascii=False)


def github(report: Report) -> str:
    """Workflow commands that annotate the lines of a pull request."""
    lines = [_annotation(finding) for finding in report.findings]
    lines += [f"::notice::{_escaped(str(one))}" for one in report.not_read]
    return "\n".join([*lines, *map(_escaped, report.remarks), _summary(report)])


def _annotation(finding: Finding) -> str:
    command = "error" if finding.severity == "error" else "warning"
    title = _property(f"{finding.rule} {FAILURES[finding.rule].title}")
    place = f"file={_property(finding.path)},line={finding.line},col={finding.column}"
    message = f"{finding.seen}\nwhy: {FAILURES[finding.rule].why}\nedit: {_edit(finding)}"
    return f"::{command} {place},title={title}::{_escaped(message)}"


def _escaped(value: str) -> str:
    return value.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(value: str) -> str:
    return _escaped(value).replace(":", "%3A").replace(",", "%2C")


FORMATS = {"text": text, "json": as_json, "github": github}
