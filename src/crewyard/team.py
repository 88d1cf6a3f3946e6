"""`crewyard team new`: a company's own template, which goes on top of this one (docs/standards.md)."""

import argparse
import shutil
import tempfile
from pathlib import Path
from typing import Any

from crewyard.errors import NotPossible
from crewyard.git import git
from crewyard.template import Template, template_or_own

SKELETON = Path(__file__).parent / "company"
NAME, REQUIREMENT = "COMPANY", "CREWYARD"  # what stands for them in the skeleton


def add_to(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the subcommand and its arguments."""
    parser = commands.add_parser("team", help="a company's own standards", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    new = commands.add_parser("new", help="make the template of a company")
    new.add_argument("directory", type=Path, help="where; it must not be there yet")
    new.add_argument("--name", default="our company", help="of the company, as its files shall say it")
    new.add_argument("--template", metavar="URL", help="crewyard's; default: where this command was installed from")
    new.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Returns 0. Raises NotPossible."""
    target: Path = arguments.directory.absolute()
    if target.exists():
        msg = f"{target} is there already: give a directory that is not."
        raise NotPossible(msg)
    if not arguments.name.isprintable() or set(arguments.name) & set('"\\'):
        msg = f"--name {arguments.name!r} cannot be: type the name without quotes, backslashes and line breaks."
        raise NotPossible(msg)
    told = {NAME: arguments.name, REQUIREMENT: _requirement(template_or_own(arguments.template))}
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".crewyard-", dir=target.parent) as place:
        made = Path(place) / "made"
        shutil.copytree(SKELETON, made, ignore=shutil.ignore_patterns("__pycache__"))
        for path in made.rglob("*"):
            if path.is_file():
                text = path.read_text("utf-8")
                for mark, value in told.items():
                    text = text.replace(mark, value)
                path.write_text(text, "utf-8")
        git(made, "init", "--quiet", "--initial-branch=main")
        made.rename(target)
    print(f"{target}: read its README, then git add . && git commit -m 'Standards' && git tag 1.0.0")
    return 0


def _requirement(source: str) -> str:
    """Where uv installs this command from."""
    if Path(source).is_dir():
        return Path(source).resolve().as_uri()
    url = Template(source).url
    if "://" not in url:  # as in git@host:path
        user, _, path = url.partition(":")
        if not path:
            msg = f"--template {source} is no directory and no URL: name crewyard's repository."
            raise NotPossible(msg)
        url = f"ssh://{user}/{path}"
    return f"git+{url}"
