"""`crewyard new`: a project from questions, in git, locked and checked."""

import argparse
import os
import re
import shlex
import tempfile
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

from crewyard import questions, zones
from crewyard.ask import confirmed, is_there_a_person
from crewyard.errors import NotPossible
from crewyard.git import git
from crewyard.project import Project, made_by
from crewyard.standards import LOCKED, Standards
from crewyard.template import Template, template_or_own, what_copier_says
from crewyard.uv import uv

TEAM_ANSWERS = ".copier-answers.team.yml"
PROJECT_NAME = re.compile("[a-z][a-z0-9]*(-[a-z0-9]+)*")
FAILED = 1


def add_to(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the subcommand and its arguments."""
    parser = commands.add_parser("new", help="make a project", description=__doc__)
    parser.add_argument("directory", nargs="?", type=Path, help="of the project (default: its name)")
    parser.add_argument("--template", metavar="URL", help="default: where this command was installed from")
    parser.add_argument("--release", metavar="TAG", help="of the template (default: the newest)")
    parser.add_argument("--team", metavar="URL", help="your company's template, which `crewyard team new` makes")
    parser.add_argument("--no-lock", action="store_true", help="do not run `uv lock`, nor the check")
    parser.add_argument("--yes", action="store_true", help="ask nothing: what no flag answers has its default")
    questions.add_flags(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Returns 0, or 1 if a person did not want it. Raises NotPossible."""
    source = template_or_own(arguments.template)
    answers = questions.given(arguments)
    if arguments.directory is not None:
        _refuse_unless_free(arguments.directory)
    ask = is_there_a_person() and not arguments.yes
    # Beside its place, so that it comes there by one rename: whole, or not at all.
    beside = (arguments.directory or Path("project")).resolve().parent
    beside.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".crewyard-", dir=beside) as place:
        made = Path(place) / "project"
        _render(made, source, arguments, answers, ask)
        name = Project(made).made.answers["project_name"]
        target = (arguments.directory or Path(name)).resolve()
        _refuse_unless_free(target)
        print(f"{target}\n{preview(made)}\n")
        if ask and not confirmed("Make it?"):
            return FAILED
        if target.exists():
            target.rmdir()
        made.chmod(0o755)
        made.rename(target)
    return _finish(target, name, arguments.no_lock)


def preview(place: Path) -> str:
    """The tree as people look at it: two levels, each directory with its files and whose it is."""
    files = [str(path.relative_to(place)) for path in place.rglob("*") if path.is_file() or path.is_symlink()]
    shown: Counter[str] = Counter()
    for name in files:
        parts = name.split("/")
        shown["/".join(parts[:2]) + "/" if len(parts) > 2 else name] += 1
    wide = max(map(len, shown))
    return "\n".join(
        f"  {name:{wide}}  {zones.whose(name)}{f', {count} files' if name.endswith('/') else ''}"
        for name, count in sorted(shown.items())
    )


def _refuse_unless_free(place: Path) -> None:
    if place.is_symlink() or (place.exists() and (not place.is_dir() or any(place.iterdir()))):
        msg = f"{place} is there already: give a directory that is not, or an empty one."
        raise NotPossible(msg)


def _render(made: Path, source: str, arguments: argparse.Namespace, answers: dict[str, Any], ask: bool) -> None:
    """Crewyard's template by the company's standards, and then the company's on top."""
    own, company = Template(source), Template(arguments.team) if arguments.team else None
    release = arguments.release or own.newest
    if release != "HEAD":
        own.refuse_unless_released(release)
    asked = {LOCKED, *own.read(release)[1]} if answers or company else {LOCKED}
    mine, theirs = _told_apart(answers, asked, release, company)
    standards = Standards()
    if company:
        # Aside, because its standards are needed before there is a project, and its files may need what the project is.
        aside = made.with_name("company")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what it reads of the project is not there yet
            _copy(company, aside, company.newest, theirs, {}, ask, TEAM_ANSWERS)
        standards = Standards.read(aside)
        standards.refuse_unless_asked(asked)
        theirs = made_by(aside / TEAM_ANSWERS).answers
    _copy(own, made, release, standards.data(mine), {**_named_by(arguments.directory), **standards.defaults}, ask)
    if company:
        before = {path: path.read_bytes() for path in made.rglob("*") if path.is_file()}
        _copy(company, made, company.newest, theirs, {}, False, TEAM_ANSWERS)
        changed = [str(path.relative_to(made)) for path, content in before.items() if path.read_bytes() != content]
        zones.refuse_both(changed)


def _told_apart(
    answers: dict[str, Any], asked: set[str], release: str, company: Template | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The answers for the one template and those for the other. Raises NotPossible for what neither asks."""
    asked_on_top = set(company.read(company.newest)[1]) if company and answers else set()
    if unknown := sorted(set(answers) - asked - asked_on_top):
        msg = f"Release {release} asks nothing of the name {', '.join(unknown)}; nor does your company's template."
        raise NotPossible(msg)
    return (
        {name: answer for name, answer in answers.items() if name in asked},
        {name: answer for name, answer in answers.items() if name in asked_on_top},
    )


def _copy(
    template: Template,
    place: Path,
    release: str,
    data: dict[str, Any],
    defaults: dict[str, Any],
    ask: bool,
    answers_file: str | None = None,
) -> None:
    import copier

    # Copier takes a short form as it is, and keeps it; a path must be absolute, or no update finds it again.
    url = template.source if ":" in template.source else template.url
    with what_copier_says(""):
        copier.run_copy(
            url,
            place,
            data=data,
            user_defaults=defaults,
            answers_file=answers_file,
            vcs_ref=release,
            defaults=not ask,
            overwrite=True,
            quiet=True,
        )


def _named_by(directory: Path | None) -> dict[str, str]:
    name = directory.absolute().name if directory else ""
    return {"project_name": name} if PROJECT_NAME.fullmatch(name) else {}


def _finish(target: Path, name: str, no_lock: bool) -> int:
    """What follows the files. What cannot be done is said, and left to do; the project stays."""
    left = []
    if not git(target, "rev-parse", "--is-inside-work-tree", check=False):
        git(target, "init", "--quiet", "--initial-branch=main")
    if not no_lock:
        for step in (("lock",), ("run", name, "check")):
            try:
                uv(target, *step)
            except NotPossible as error:
                left.append(str(error))
    if left:
        print("\nLeft to do:", *left, sep="\n  ")
    print(f"\nNext: cd {shlex.quote(os.path.relpath(target))} && git add . && git commit, and then uv run {name} demo")
    return 0
