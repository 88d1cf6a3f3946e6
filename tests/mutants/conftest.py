"""The table of mutants at the end: what was edited, which tests caught it, in how many seconds."""

import pytest

CAUGHT = "caught"


@pytest.hookimpl
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print it, if mutants were run."""
    rows = [
        (*value.split("|"), outcome)
        for outcome in ("passed", "failed")
        for report in terminalreporter.getreports(outcome)
        for name, value in getattr(report, "user_properties", ())
        if name == CAUGHT and report.when == "call"
    ]
    if rows:
        terminalreporter.section("mutants")
    for failure, mutant, seconds, tests, outcome in sorted(rows):
        mark = "" if outcome == "passed" else "  <- survives, or is caught by another name"
        terminalreporter.write_line(f"{failure}  {mutant:<52} {seconds:>4} s  {tests}{mark}")
