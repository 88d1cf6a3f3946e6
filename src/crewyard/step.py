"""One template's part in an update of a project."""

import re
import tempfile
import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from crewyard.errors import NotPossible
from crewyard.project import Made
from crewyard.standards import LOCKED
from crewyard.template import Template, changes, is_of, version, what_copier_says

SOURCE = re.compile(r"^_src_path:.*(?:\n[ \t]+.*)*$", re.MULTILINE)  # a long one is folded


@dataclass(frozen=True)
class Step:
    """From one release to another. root: of the project. template: where it is now. release: the one to come to.

    trust: whether programs of the template may run without a question.
    """

    root: Path
    made: Made
    template: Template
    release: str
    trust: bool = False

    @property
    def moves(self) -> bool:
        """Whether there is a way to go."""
        return version(self.release) > version(self.made.release)

    @cached_property
    def news(self) -> str:
        """What the changelog says of the releases between."""
        return changes(self._read[0], self.made.release, self.release)

    @cached_property
    def migrations(self) -> list[str]:
        """The programs that the releases between want to run, in the project and with its rights."""
        listed = self._read[1].get("_migrations", [])
        return [_command(one) for one in listed if self._crosses(one if isinstance(one, dict) else {})]

    @cached_property
    def questions(self) -> frozenset[str]:
        """The names of what can be told to the release, what it never asks a person included."""
        return frozenset({LOCKED, *(name for name in self._read[1] if not name.startswith("_"))})

    @cached_property
    def _read(self) -> tuple[str, dict[str, Any]]:
        return self.template.read(self.release)

    def _crosses(self, migration: dict[str, Any]) -> bool:
        own = migration.get("version")
        return own is None or version(self.made.release) < version(str(own)) <= version(self.release)

    def refuse_unless_possible(self) -> None:
        """Raises NotPossible where Copier would end in a traceback."""
        if version(self.release) < version(self.made.release):
            msg = f"{self.made.file} is of {self.made.release}, and {self.release} is older: an update goes forward."
            raise NotPossible(msg)
        self.template.refuse_unless_released(self.release)
        if not is_of(self.made.release, self.template.releases):
            msg = (
                f"The template has no release {self.made.release} any more, and without it nobody can tell what you "
                f"have changed; there is {', '.join(self.template.releases)}. Ask its owners for the tag. If another "
                f"is the same under a new name, write that into {self.made.file}, and commit it."
            )
            raise NotPossible(msg)

    def settle(self) -> bool:
        """Write into the answers file where the template is now, if it is elsewhere. Returns whether it was."""
        if self.made.source == self.template.source and not _is_relative(self.made.source):
            return False
        path = self.root / self.made.file
        told = yaml.safe_dump({"_src_path": self.template.url}, width=10_000).strip()
        path.write_text(SOURCE.sub(lambda _: told, path.read_text("utf-8")), "utf-8")
        return True

    def bring(self, data: dict[str, Any], defaults: dict[str, Any], ask: bool, trust: bool) -> None:
        """Let Copier update the project. data: answers. defaults: of questions that are new. Raises NotPossible."""
        import copier
        from copier.errors import UnsafeTemplateError

        with what_copier_says(f"The update to {self.release} was not possible: "):
            try:
                copier.run_update(
                    self.root,
                    data=data,
                    answers_file=self.made.file,
                    vcs_ref=self.release,
                    user_defaults=defaults,
                    defaults=not ask,
                    skip_answered=ask,
                    overwrite=True,
                    quiet=True,
                    unsafe=trust,
                )
            except UnsafeTemplateError as error:
                msg = f"{self.release} of {self.template.source} runs programs of its own: read them, and give --trust."
                raise NotPossible(msg) from error

    @cached_property
    def before(self) -> dict[str, bytes]:
        """The files as this template made them in the release that the project is of."""
        return self.rendered(self.made.release)

    def rendered(self, release: str, answers: dict[str, Any] | None = None) -> dict[str, bytes]:
        """The files as this template makes them in a release. answers: without them those that the project had."""
        import copier

        failed = f"{release} of {self.template.source} makes no files: "
        with (
            what_copier_says(failed),
            warnings.catch_warnings(),
            tempfile.TemporaryDirectory(prefix="crewyard-") as place,
        ):
            warnings.simplefilter("ignore")  # what it reads of the project is not there
            copier.run_copy(
                self.template.url,
                place,
                data=self.made.answers if answers is None else answers,
                answers_file=self.made.file,
                vcs_ref=release,
                defaults=True,
                quiet=True,
                skip_tasks=True,
                unsafe=self.trust,
            )
            files = (path for path in Path(place).rglob("*") if path.is_file())
            return {str(path.relative_to(place)): path.read_bytes() for path in files}


def _command(migration: Any) -> str:
    command = migration["command"] if isinstance(migration, dict) and "command" in migration else migration
    return " ".join(map(str, command)) if isinstance(command, list) else str(command)


def _is_relative(source: str) -> bool:
    return ":" not in source and not source.startswith(("/", "~"))
