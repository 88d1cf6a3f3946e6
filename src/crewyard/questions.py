"""The template's questions as flags: every one can be answered without a terminal."""

import argparse
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from crewyard.errors import NotPossible
from crewyard.project import load

COPIER_YML = "copier.yml"
FLAG = "answer_"
FIXED = ("package_name",)  # after the first copy


def add_flags(parser: argparse.ArgumentParser, update: bool = False) -> None:
    """A flag for each question, and those that take any answer."""
    group = parser.add_argument_group("answers")
    for name, question in _asked().items():
        if update and name in FIXED:
            continue
        choices = question.get("choices")
        group.add_argument(
            f"--{name.replace('_', '-')}",
            dest=f"{FLAG}{name}",
            choices=list(choices.values()) if isinstance(choices, dict) else choices,
            metavar=None if choices else "TEXT",
            help=question["help"].replace("%", "%%"),
        )
    group.add_argument("--data", action="append", default=[], metavar="NAME=VALUE", help="an answer, by its name")
    group.add_argument("--data-file", type=Path, metavar="FILE", help="answers, as YAML")


def given(arguments: argparse.Namespace) -> dict[str, Any]:
    """The answers that were given, those by flags before those of a file. Raises NotPossible for what is none."""
    answers = load(arguments.data_file) if arguments.data_file else {}
    for text in arguments.data:
        name, equals, value = text.partition("=")
        if not (name and equals):
            msg = f"--data {text} is no answer: type --data NAME=VALUE."
            raise NotPossible(msg)
        answers[name] = value
    flags = {name: value for name, value in vars(arguments).items() if name.startswith(FLAG) and value is not None}
    return {**answers, **{name.removeprefix(FLAG): value for name, value in flags.items()}}


def _asked() -> dict[str, Any]:
    content = yaml.safe_load(_text())
    return {
        name: question
        for name, question in content.items()
        if not name.startswith("_") and question.get("when", True) is not False
    }


def _text() -> str:
    """The questions of the release that this command is of: beside it in a wheel, in the repository otherwise."""
    packed = files("crewyard") / COPIER_YML
    if packed.is_file():
        return packed.read_text("utf-8")
    return (Path(__file__).parent.parent.parent / COPIER_YML).read_text("utf-8")
