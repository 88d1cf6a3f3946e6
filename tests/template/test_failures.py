"""The list of failures that a project carries tells of each one, and names the tests that say that they guard it."""

import re

import pytest
from conftest import REPOSITORY
from crewyard_runtime.testing.failures import FAILURE_MODES

SCALING = REPOSITORY / "template/tests/scaling"
ROWS = {row[2:5]: row for row in (SCALING / "README.md").read_text("utf-8").splitlines() if re.match(r"\| F\d\d", row)}


def test_every_failure_has_a_row() -> None:
    assert list(ROWS) == list(FAILURE_MODES)


@pytest.mark.parametrize("failure", FAILURE_MODES)
def test_a_row_tells_what_a_failing_test_tells(failure: str) -> None:
    assert f"| {FAILURE_MODES[failure].title} | {FAILURE_MODES[failure].leads_to} |" in ROWS[failure]


@pytest.mark.parametrize("failure", FAILURE_MODES)
def test_the_tests_of_a_row_are_marked_with_its_failure(failure: str) -> None:
    modules = re.findall(r"`(test_\w+\.py)`(?:: ((?:`\w+`(?:, )?)+))?", ROWS[failure])
    assert modules or FAILURE_MODES[failure].not_yet
    assert not FAILURE_MODES[failure].not_yet or f"Not yet: {FAILURE_MODES[failure].not_yet} |" in ROWS[failure]
    for module, named in modules:
        text = (SCALING / module).read_text("utf-8")
        for test in re.findall(r"`(\w+)`", named):
            before, found, _ = text.partition(f"def test_{test}(")
            assert found, f"{module} has no {test}"
            assert f'"{failure}"' in before.rpartition("\n\n\n")[2], f"{test} is not marked with {failure}"
        assert named or f'pytestmark = pytest.mark.guards("{failure}")' in text
