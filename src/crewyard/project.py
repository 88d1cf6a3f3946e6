"""A generated project: which templates it was made of, of which release, with which answers."""

import tomllib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from crewyard.errors import NotPossible

ANSWERS = ".copier-answers.yml"
PLATFORM = "platform.toml"
# The answers in it that decide about other files too.
CHOICES = ("framework", "broker", "auth", "memory", "code_execution", "secrets")
OF_KUBERNETES = ("deploy/autoscaling", "deploy/base/gateway.yaml")
TEAM_ANSWERS = ".copier-answers.*.yml"  # one for each template on top


@dataclass(frozen=True)
class Made:
    """What one template has made. file: its answers file. source: `_src_path`. release: `_commit`, a tag of it."""

    file: str
    source: str
    release: str
    answers: dict[str, Any]


class Project:
    """The project in a directory. Raises NotPossible if there is none, or its answers file cannot be read."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.made = made_by(self.root / ANSWERS)

    @cached_property
    def made_on_top(self) -> list[Made]:
        """What the company's templates have made."""
        return [made_by(path) for path in sorted(self.root.glob(TEAM_ANSWERS))]

    @property
    def contradictions(self) -> dict[str, tuple[Any, Any]]:
        """What the answers file says otherwise than the files that the answers made, as after an edit by hand."""
        try:
            platform = tomllib.loads((self.root / PLATFORM).read_text("utf-8"))
        except (OSError, ValueError):
            return {}
        answers = self.made.answers
        said = {name: (answers.get(name), platform[name]) for name in CHOICES if name in platform}
        if answers.get("deploy") == "compose" and all((self.root / name).exists() for name in OF_KUBERNETES):
            said["deploy"] = "compose", "kubernetes"
        return {name: (answer, other) for name, (answer, other) in said.items() if answer != other}


def made_by(path: Path) -> Made:
    """What an answers file tells. Raises NotPossible if it is not there, or was not written by Copier."""
    if not path.is_file():
        msg = f"{path.parent} has no {path.name}: give the directory of a project that `crewyard new` or Copier made."
        raise NotPossible(msg)
    content = load(path)
    missing = [key for key in ("_src_path", "_commit") if not isinstance(content.get(key), str)]
    if missing:
        msg = f"{path} does not tell {' and '.join(missing)}: take the file as Copier wrote it from git's history."
        raise NotPossible(msg)
    answers = {key: value for key, value in content.items() if not key.startswith("_")}
    return Made(path.name, content["_src_path"], content["_commit"], answers)


def load(path: Path) -> dict[str, Any]:
    """A file of YAML that is a mapping. Raises NotPossible with the line that is wrong."""
    try:
        content = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        msg = f"{path} cannot be read: {error}"
        raise NotPossible(msg) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        msg = f"{path}{where} is no YAML: take the file as it was from git's history."
        raise NotPossible(msg) from error
    if not isinstance(content, dict):
        msg = f"{path} holds no names with values: take the file as it was from git's history."
        raise NotPossible(msg)
    return content
