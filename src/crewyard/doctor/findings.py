"""What the doctor has found: one place, one failure."""

from dataclasses import dataclass, field
from typing import Literal

Severity = Literal["error", "hint"]


@dataclass(frozen=True, order=True)
class Finding:
    """path: as printed. line, column: from 1. first, end: of the statement. An error is certain, a hint is not."""

    path: str
    line: int
    column: int
    rule: str
    severity: Severity = field(compare=False)
    seen: str = field(compare=False)
    edit: str = field(compare=False)
    first: int = field(compare=False, default=0)
    end: int = field(compare=False, default=0)


@dataclass(frozen=True)
class NotRead:
    """A file, or a part of it, that was not judged. line: 0 if it has none."""

    path: str
    line: int
    why: str

    def __str__(self) -> str:
        place = f"{self.path}:{self.line}" if self.line else self.path
        return f"not read: {place}: {self.why}"
