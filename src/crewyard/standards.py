"""A company's standards: answers that its projects start with, those that are locked, and policies for the doctor.

They come into a project as `.crewyard.yml`, by the company's own template (docs/standards.md).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crewyard.errors import NotPossible
from crewyard.project import load

STANDARDS = ".crewyard.yml"
LOCKED = "locked"
PARTS = ("answers", "policies")


@dataclass(frozen=True)
class Standards:
    """answers: by the names of questions. locked: the names of those that no project may change."""

    answers: dict[str, Any] = field(default_factory=dict)
    locked: tuple[str, ...] = ()
    policies: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> "Standards":
        """Those of a project, or of a file; none if it is not there. Raises NotPossible for what they cannot say."""
        file = path / STANDARDS if path.is_dir() else path
        if not file.is_file():
            return cls()
        content = load(file)
        answers = dict(content.get("answers") or {}) if set(content) <= set(PARTS) else None
        locked = answers.pop(LOCKED, None) or [] if answers is not None else None
        if answers is None or not isinstance(locked, list | dict):
            msg = f"{file} must hold `answers`, with a list `locked` in them, and `policies`, and nothing else."
            raise NotPossible(msg)
        if missing := [name for name in locked if name not in answers]:
            msg = f"{file} locks {', '.join(missing)} without an answer to it."
            raise NotPossible(msg)
        if odd := [name for name, answer in answers.items() if not isinstance(answer, str | bool)]:
            told = ", ".join(f"{name}: {answers[name]}" for name in odd)
            msg = f"{file} has {told}, and an answer is text: in your company's answers.yml it needs quotes."
            raise NotPossible(msg)
        return cls(answers, tuple(locked), dict(content.get("policies") or {}))

    def data(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The answers that are given and those that are locked. Raises NotPossible if they contradict each other."""
        for name in self.locked:
            if given.get(name, self.answers[name]) != self.answers[name]:
                msg = f"{name} is locked by your company's standards: it is {self.answers[name]}."
                raise NotPossible(msg)
        fixed = {name: self.answers[name] for name in self.locked}
        return {**given, **fixed, **({LOCKED: list(self.locked)} if self.locked else {})}

    def refuse_unless_asked(self, asked: Collection[str]) -> None:
        """Raises NotPossible for a locked name that is no question: no project could ever have its answer."""
        if unknown := [name for name in self.locked if name not in asked]:
            msg = (
                f"Your company's standards lock {', '.join(unknown)}, and no question has that name: tell their owners."
            )
            raise NotPossible(msg)

    @property
    def defaults(self) -> dict[str, Any]:
        """The answers that a project may change."""
        return {name: answer for name, answer in self.answers.items() if name not in self.locked}

    def differing(self, answers: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
        """The locked answers that a project has otherwise: what it has, and what it should have."""
        return {
            name: (answers.get(name), self.answers[name])
            for name in self.locked
            if answers.get(name) != self.answers[name]
        }
