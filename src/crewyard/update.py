"""`crewyard update`: brings a project to the newest release of its templates, or leaves it exactly as it was."""

import argparse
from pathlib import Path
from typing import Any

from crewyard import adjacent, kept, questions, zones
from crewyard.ask import confirmed, is_there_a_person
from crewyard.before import Before, alone, commit_for_now, uncommit
from crewyard.conflicts import conflicts, lost
from crewyard.errors import NotPossible
from crewyard.git import git
from crewyard.project import Made, Project
from crewyard.standards import Standards
from crewyard.step import Step
from crewyard.template import Template, version
from crewyard.uv import uv

FAILED = BEHIND = 1
SHOWN = 10  # names of files
REPLACED = (
    "{name}: git ignores it, so that nothing could be brought together, and the release has one of its own there now. "
    "Yours is back by `crewyard update --back`; give it another name, or let git know it, and update again."
)


def add_to(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the subcommand and its arguments."""
    parser = commands.add_parser("update", help="bring a project to the newest release", description=__doc__)
    parser.add_argument("directory", nargs="?", type=Path, default=Path(), help="of the project (default: here)")
    parser.add_argument("--check", action="store_true", help="change nothing; exit code 1 if the project is behind")
    parser.add_argument("--back", action="store_true", help="make the project what it was before the last update")
    parser.add_argument("--release", metavar="TAG", help="of the template (default: the newest)")
    parser.add_argument("--template", metavar="URL", help="where the template is now, if it has moved")
    parser.add_argument("--trust", action="store_true", help="let the releases between run their migrations")
    parser.add_argument("--no-lock", action="store_true", help="do not run `uv lock`, nor the tests")
    parser.add_argument("--no-tests", action="store_true", help="do not run the tests")
    parser.add_argument(
        "--on-failure", choices=("ask", "keep", "back"), default="ask", help="without a terminal `ask` keeps"
    )
    parser.add_argument("--yes", action="store_true", help="ask nothing")
    questions.add_flags(parser, update=True)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Returns 0, or 1 if the project is behind (`--check`), has a conflict or fails its tests. Raises NotPossible."""
    project = Project(arguments.directory)
    if arguments.check:
        return _check(project, arguments)
    _refuse_unless_committed(project.root)
    with alone(project.root):
        return _go_back(project.root, arguments.yes) if arguments.back else _update(project, arguments)


def _update(project: Project, arguments: argparse.Namespace) -> int:
    _refuse_unless_clean(project.root)
    _refuse_contradictions(project)
    given, steps = questions.given(arguments), _steps(project, arguments)
    standards = _standards(project, steps)
    standards.data(given)
    if given and (unknown := sorted(set(given).difference(*(step.questions for step in steps)))):
        msg = f"No template of this project asks {', '.join(unknown)}."
        raise NotPossible(msg)
    _refuse_both(steps)
    differing = standards.differing(project.made.answers)
    if not (given or differing or arguments.template or any(step.moves for step in steps)):
        print(f"{project.root} is of the newest release, {project.made.release}.")
        return 0
    _tell(steps)
    trust = _trusted(steps, arguments.trust)
    if not arguments.yes and not confirmed("Update?"):
        return FAILED
    before = Before.save(project.root, ", ".join(f"{step.made.file} to {step.release}" for step in steps))
    failures = _attempt(before, steps, given, arguments, trust)
    if failures:
        return _failed(project.root, before, failures, arguments)
    print("\nDone. Look at it with `git diff` and commit it; until then `crewyard update --back` takes it back.")
    return 0


def _check(project: Project, arguments: argparse.Namespace) -> int:
    steps = _steps(project, arguments)
    for step in reversed(steps):
        state = f"behind {step.release}: `crewyard update`" if step.moves else "the newest release"
        print(f"{step.made.file}: {step.made.release}, {state}")
    differing = _standards(project, steps).differing(project.made.answers)
    for name, (given, locked) in differing.items():
        print(f"{name}: {given}, and your company's standards lock {locked}: `crewyard update`")
    return BEHIND if differing or any(step.moves for step in steps) else 0


def _go_back(root: Path, sure: bool) -> int:
    before = Before.find(root)
    if before is None or before.is_undone(root):
        msg = "There is nothing to go back from: no update was begun here that is not committed."
        raise NotPossible(msg)
    if new := before.new_files(root):
        print("These files came after the update began, and will be deleted:", *_some(new), sep="\n  ")
    if not sure and not confirmed("Put back what was before, and lose every change since?"):
        return FAILED
    before.put_back(root)
    print("The project is what it was before the update.")
    return 0


def _refuse_unless_committed(root: Path) -> None:
    if git(root, "rev-parse", "--verify", "--quiet", "HEAD", check=False) == "":
        msg = f"{root} has no commit in git, and an update builds on one: `git init`, `git add .`, `git commit`."
        raise NotPossible(msg)


def _refuse_unless_clean(root: Path) -> None:
    changed = _changed(root)
    before = Before.find(root)
    over = before and (before.is_undone(root) or before.is_committed(root))
    if before and not over and (changed or before.is_open(root)):
        msg = (
            f"An update was begun here ({before.told}) and is not committed: finish it and commit it, or put back what "
            "was before by `crewyard update --back`."
        )
        raise NotPossible(msg)
    if before:
        before.forget(root)
    if changed:
        msg = "\n  ".join(["These changes are not committed; commit or stash them first:", *_some(changed)])
        raise NotPossible(msg)


def _changed(root: Path) -> list[str]:
    """What differs from the commit, whatever git is configured to show."""
    return git(root, "status", "--porcelain", "--untracked-files=all", "--", ".").splitlines()


def _refuse_contradictions(project: Project) -> None:
    for name, (answer, other) in project.contradictions.items():
        said = "nothing of " + name if answer is None else f"{name}: {answer}"
        msg = (
            f"{project.made.file} says {said}, and the project was made for {other}: one was edited by hand, "
            f"and no update can tell what belongs to which. Write `{name}: {other}` there and commit it. If you want "
            f"another answer, and your company does not lock it: `crewyard update --data {name}={answer or other}`."
        )
        raise NotPossible(msg)


def _steps(project: Project, arguments: argparse.Namespace) -> list[Step]:
    """The templates in the order of their turns: the company's first, whose standards then hold for the rest."""
    steps = []
    for made in (*project.made_on_top, project.made):
        own = made is project.made
        template = Template(arguments.template if own and arguments.template else made.source, below=project.root)
        release = arguments.release if own and arguments.release else _at_least(template, made)
        step = Step(project.root, made, template, release, arguments.trust)
        step.refuse_unless_possible()
        steps.append(step)
    return steps


def _standards(project: Project, steps: list[Step]) -> Standards:
    """Those of the project now; none if they cannot be read, and a release that may have mended them is to come."""
    try:
        return Standards.read(project.root)
    except NotPossible:
        if any(step.moves for step in steps[:-1]):
            return Standards()
        raise


def _refuse_both(steps: list[Step]) -> None:
    """Raises NotPossible if a company's new release brings a file that crewyard manages."""
    for step in steps[:-1]:
        if step.moves and (new := step.rendered(step.release).keys() - step.before.keys()):
            zones.refuse_both(new & steps[-1].rendered(steps[-1].release).keys())


def _at_least(template: Template, made: Made) -> str:
    """The newest release; what is made of a commit after it stays there."""
    return template.newest if version(template.newest) >= version(made.release) else made.release


def _tell(steps: list[Step]) -> None:
    for step in steps:
        if step.moves:
            print(f"{step.made.file}: {step.made.release} to {step.release} of {step.template.source}\n")
            if step.news:
                print(f"{step.news}\n")


def _trusted(steps: list[Step], given: bool) -> bool:
    """Whether programs of the templates may run; where there are migrations, a person is asked. Raises NotPossible."""
    programs = [program for step in steps for program in step.migrations]
    if not programs:
        return given
    print("These releases run programs in your project, with your rights:", *programs, sep="\n  ")
    if given or (is_there_a_person() and confirmed("Run them?", otherwise=False)):
        return True
    msg = "Without them the project would not fit the new release: read them, then give --trust."
    raise NotPossible(msg)


def _attempt(
    before: Before, steps: list[Step], given: dict[str, Any], arguments: argparse.Namespace, trust: bool
) -> list[str]:
    """Do it. Returns what failed; whatever else ends it puts back what was before."""
    root = steps[0].root
    try:
        failures = _bring(before, steps, given, trust, ask=is_there_a_person() and not arguments.yes)
        before.note_brought(root)
        failures += [REPLACED.format(name=name) for name in before.replaced(root)]
        uncommit(root, before.head)
        if not failures and not arguments.no_lock:
            uv(root, "lock")
            if not arguments.no_tests:
                uv(root, "run", "pytest", "-q")
    except NotPossible as error:
        uncommit(root, before.head)
        if not _changed(root):
            before.forget(root)
            raise
        return [str(error)]
    except BaseException:  # a key was pressed, or there is a mistake in this command
        before.put_back(root)
        raise
    return failures


def _bring(before: Before, steps: list[Step], given: dict[str, Any], trust: bool, ask: bool) -> list[str]:
    """The templates' turns, up to the first with a conflict. Returns a sentence for each."""
    for step in steps:
        own = step is steps[-1]
        settled = step.settle()
        if settled or step is not steps[0]:
            commit_for_now(step.root)
        standards = Standards.read(step.root) if own else Standards()
        standards.refuse_unless_asked(step.questions if standards.locked else ())
        asked = {name: answer for name, answer in given.items() if name in step.questions}
        step.bring(standards.data(asked), standards.defaults, ask, trust)
        adjacent.settle(step.root)
        if own and (edited := kept.settle(step.root, before.head, step)):
            print("\nThese files are yours, and fit the answers of before. What the answers of now change in them:")
            print(*edited, sep="\n")
        if failures := [*conflicts(step.root, before.head), *lost(step.root, before.head, steps)]:
            return failures
    return []


def _failed(root: Path, before: Before, failures: list[str], arguments: argparse.Namespace) -> int:
    print("\nThe update is not done:", *failures, sep="\n  ")
    if arguments.on_failure == "back" or (
        arguments.on_failure == "ask" and is_there_a_person() and confirmed("Put back what was before?")
    ):
        before.put_back(root)
        print("The project is what it was before the update.")
    else:
        print("\nMend it and commit it, or put back what was before: `crewyard update --back`.")
    return FAILED


def _some(listed: list[str]) -> list[str]:
    more = len(listed) - SHOWN
    return [*listed[:SHOWN], f"and {more} more"] if more > 0 else listed
