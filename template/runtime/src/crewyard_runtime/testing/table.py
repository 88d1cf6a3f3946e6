"""The pytest plugin's table at the end: of each failure mode whether it is guarded, comes back, or cannot be judged.

A test says which it holds off by `@pytest.mark.guards("F01")`; JUnit XML has it as a property of the test.
"""

import re
from collections import defaultdict
from collections.abc import Generator

import pytest

from crewyard_runtime.testing.failures import FAILURE_MODES, MOST, story

PROPERTY = "guards"
REPORT = "report"  # the property of a test by which it tells what it measured
# As a failing test begins what it says of a failure.
NAMED = re.compile(r"^(?:E +)?(?:\w+Error: )?(F\d\d): ", re.MULTILINE)
FAILING, GUARDED, NOT_JUDGED = "FAILING", "guarded", "not judged"


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known, and begin the table."""
    config.addinivalue_line("markers", "guards(*failures): the failure modes that a test holds off")
    config.pluginmanager.register(FailureTable())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """A test that fails without saying of which failure it is tells of those that it guards."""
    try:
        return (yield)
    except Exception as error:
        guarded = [str(failure) for mark in item.iter_markers("guards") for failure in mark.args]
        if not any(f"{failure}:" in str(error) for failure in FAILURE_MODES):
            for failure in guarded:
                error.add_note(story(failure))
        raise


class FailureTable:
    """What each failure mode's tests came to."""

    def __init__(self) -> None:
        self._seen: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        self._collected: set[str] = set()
        self._reports: list[str] = []

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Write what each test guards where its report carries it, also from another process (xdist)."""
        for item in items:
            failures = [failure for mark in item.iter_markers("guards") for failure in mark.args]
            if unknown := set(failures) - FAILURE_MODES.keys():
                msg = f"{item.nodeid} guards {', '.join(sorted(unknown))}: there is {', '.join(FAILURE_MODES)}."
                raise pytest.UsageError(msg)
            item.user_properties += [(PROPERTY, failure) for failure in failures]
            self._collected.update(failures)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take note of how a test ended: at its call, or before it."""
        if report.when != "call" and report.passed:
            return
        broken = report.failed and report.when != "call"  # its application could not be imported, or a server started
        state = GUARDED if report.passed else NOT_JUDGED if report.skipped or broken else FAILING
        test = report.nodeid.rpartition("/")[2]
        named = set(NAMED.findall(report.longreprtext)) if report.failed else set()
        for failure in named & FAILURE_MODES.keys():
            self._seen[failure][FAILING].append(test)
        why = report.longrepr[2].removeprefix("Skipped: ") if isinstance(report.longrepr, tuple) else test
        for name, value in report.user_properties:
            if name == PROPERTY:
                self._seen[str(value)][state].append(str(why))
            elif name == REPORT:
                self._reports.append(f"{test}: {value}")

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print it, if a test of the session guards anything."""
        if not self._seen:
            return
        for line in self._reports:
            terminalreporter.write_line(line)
        terminalreporter.section("failure modes")
        for failure, mode in FAILURE_MODES.items():
            seen = self._seen.get(failure, {})
            state = next((each for each in (FAILING, GUARDED, NOT_JUDGED) if seen.get(each)), None)
            state = state or ("not yet" if failure not in self._collected and mode.not_yet else "not run")
            terminalreporter.write_line(f"{failure}  {state:<10}  {mode.title}", red=state == FAILING)
            later = [f"not yet: {mode.not_yet}"] if mode.not_yet else []
            lines = list(dict.fromkeys([*seen.get(FAILING, []), *seen.get(NOT_JUDGED, [])]))
            more = [f"and {len(lines) - MOST} more"] if len(lines) > MOST else []
            for line in [*lines[:MOST], *more, *later]:
                terminalreporter.write_line(f"                 {line}")
