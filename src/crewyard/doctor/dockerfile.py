"""A Dockerfile, split into its instructions."""

import re
from dataclasses import dataclass
from pathlib import Path

from crewyard.doctor.findings import Finding, Severity


@dataclass(frozen=True)
class Instruction:
    """One instruction of a Dockerfile, its continued lines joined. line: its first. end: its last."""

    line: int
    end: int
    name: str
    rest: str


@dataclass(frozen=True)
class Dockerfile:
    """A parsed Dockerfile. path: as it is printed."""

    path: str
    place: Path
    instructions: tuple[Instruction, ...]
    text: str

    def found(self, one: Instruction, rule: str, severity: Severity, seen: str, edit: str) -> Finding:
        """A finding at an instruction."""
        return Finding(self.path, one.line, 1, rule, severity, seen, edit, one.line, one.end)


def parse(path: str, place: Path, text: str) -> Dockerfile:
    """Split a Dockerfile into instructions; comments and empty lines are left out."""
    found: list[Instruction] = []
    parts: list[str] = []
    first = 0
    heredoc = ""
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if heredoc:
            heredoc = "" if line == heredoc else heredoc
            if not heredoc:
                found[-1] = Instruction(found[-1].line, number, found[-1].name, found[-1].rest)
            else:
                found[-1] = Instruction(found[-1].line, number, found[-1].name, f"{found[-1].rest} && {line}")
            continue
        if not line or line.startswith("#"):
            continue
        first = first or number
        parts.append(line.removesuffix("\\").strip())
        if line.endswith("\\"):
            continue
        word, _, rest = " ".join(parts).partition(" ")
        found.append(Instruction(first, number, word.upper(), rest.strip()))
        if word.upper() in ("RUN", "COPY") and (start := re.search(r"<<-?[\"']?(\w+)", rest)):
            heredoc = start[1]
        parts, first = [], 0
    return Dockerfile(path, place, tuple(found), text)
