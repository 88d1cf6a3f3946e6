"""Every edit that brings a known failure back is caught, by the test that names it, and by no other name.

One mutant of each failure by default, one in CrewAI and one in AutoGen, and the tests of the module that must catch it.
`MUTANTS=each` takes every mutant, `MUTANTS=all` runs the quick tests of all modules over every mutant.
"""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import Projects
from mutants import at_import, in_runs, in_service, in_teams, without_limits
from mutants.conftest import CAUGHT
from mutants.copies import copy_of, failures, scaling_tests
from mutants.edits import NEEDED, TOOL, Mutant

MUTANTS = [*at_import.MUTANTS, *in_runs.MUTANTS, *without_limits.MUTANTS, *in_service.MUTANTS, *in_teams.MUTANTS]
QUICK = ("import", "runs", "concurrency", "limits", "startup")
HOW = os.environ.get("MUTANTS", "one")
FIRST = {(mutant.framework == "crewai", mutant.failure): mutant for mutant in reversed(MUTANTS)}
CHOSEN = MUTANTS if HOW in ("each", "all") else list(FIRST.values())


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """What a mutant leaves on the machine is removed."""
    yield
    for left in Path("/tmp").glob("crewyard-mutant*"):
        shutil.rmtree(left) if left.is_dir() else left.unlink()


@pytest.mark.parametrize("mutant", CHOSEN, ids=lambda mutant: f"{mutant.failure} {mutant.framework} {mutant.name}")
def test_a_known_failure_is_caught_by_its_name(
    projects: Projects, tmp_path: Path, mutant: Mutant, record_property: Callable[[str, object], None]
) -> None:
    project = projects(mutant.framework)
    place = copy_of(project, tmp_path / "mutant")
    for file, pairs in mutant.edits.items():
        edit(place / file, pairs)
    module, _, test = mutant.caught_by.partition("::")
    modules = [f"tests/scaling/test_{name}.py" for name in QUICK] if HOW == "all" else []
    started = time.monotonic()
    failed = failures(scaling_tests(place, project, *dict.fromkeys([f"tests/scaling/{module}", *modules])))
    seconds = time.monotonic() - started
    record_property(
        CAUGHT,
        f"{mutant.failure}|{mutant.framework}: {mutant.name}|{seconds:.0f}|{', '.join(sorted(failed)) or 'nothing'}",
    )
    assert test in failed, f"it survives {mutant.caught_by}; what failed: {failed}"
    causes = [f"{failure}:" for failure in (mutant.failure, *mutant.also.split())]
    others = {name: said for name, said in failed.items() if not any(cause in said for cause in causes)}
    assert not others, f"these tests fail and name another cause: {others}"


def edit(file: Path, pairs: list[tuple[str, str]]) -> None:
    """Change a file; each text that goes must be there once. In the tool's module imports are added as needed."""
    text = file.read_text("utf-8") if file.exists() else ""
    for old, new in pairs:
        if old == "":
            text = new + text
            continue
        assert text.count(old) == 1, f"{old!r} is {text.count(old)} times in {file.name}"
        text = text.replace(old, new)
    if file.name == Path(TOOL).name:
        needed = [line for words, line in NEEDED.items() if words in text and line not in text]
        text = text.replace("import re\n", "".join(["import re\n", *needed]), 1)
    file.write_text(text, "utf-8")
