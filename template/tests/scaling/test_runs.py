"""Many runs in a row leave nothing behind, share nothing and hand over nothing but data."""

import pytest
from crewyard_runtime import Application
from crewyard_runtime.testing.failures import guard, guard_succeeded
from crewyard_runtime.testing.inputs import leaks, marked_inputs, mixed_prompts
from crewyard_runtime.testing.model_server import ModelServer
from crewyard_runtime.testing.plugin import Probing
from crewyard_runtime.testing.probe import ProbeReport

IN_A_ROW = 20


@pytest.fixture(scope="module")
def inputs(application: Application) -> list[tuple[str | None, object]]:
    """An input for each run, with a canary of its own."""
    return marked_inputs(application, IN_A_ROW)


@pytest.fixture(scope="module")
def report(inputs: list[tuple[str | None, object]], probing: Probing) -> ProbeReport:
    """All of them in one process, as on a platform that keeps it."""
    return probing([data for _, data in inputs], marks=[canary for canary, _ in inputs if canary])


def test_every_run_succeeds(report: ProbeReport) -> None:
    assert len(report.outcomes) == IN_A_ROW
    guard_succeeded(report.outcomes)


@pytest.mark.guards("F01")
def test_nothing_that_a_run_made_outlives_it(report: ProbeReport) -> None:
    guard("F01", report.findings("kept_after_run"))


@pytest.mark.guards("F10")
def test_no_module_keeps_what_a_run_was_given(report: ProbeReport) -> None:
    guard("F10", report.findings("data_kept"))


@pytest.mark.guards("F02")
def test_no_crew_serves_two_runs(report: ProbeReport) -> None:
    guard("F02", report.findings("served_again"))


@pytest.mark.guards("F02")
def test_no_run_sees_another_ones_data(report: ProbeReport, inputs: list[tuple[str | None, object]]) -> None:
    canaries = [canary for canary, _ in inputs]
    guard("F02", leaks(canaries, [outcome.model_dump_json() for outcome in report.outcomes]))


@pytest.mark.guards("F03")
def test_variables_are_read_by_settings_alone(report: ProbeReport) -> None:
    guard("F03", report.findings("read_in_runs"))


@pytest.mark.guards("F05")
def test_a_run_writes_in_its_workspace_alone(report: ProbeReport) -> None:
    guard("F05", report.findings("written"))


@pytest.mark.guards("F06")
def test_what_steps_hand_over_is_plain_data(report: ProbeReport) -> None:
    guard("F06", report.findings("not_plain"))


@pytest.mark.guards("F08")
def test_every_tool_call_has_a_time_limit(report: ProbeReport) -> None:
    guard("F08", report.findings("unguarded"))


@pytest.mark.guards("F07")
def test_tools_start_few_threads(report: ProbeReport) -> None:
    guard("F07", report.findings("threads"))


@pytest.mark.guards("F02")
def test_no_prompt_carries_data_of_two_runs(
    report: ProbeReport, inputs: list[tuple[str | None, object]], model_server: ModelServer
) -> None:
    prompts = [str(request["body"]) for request in model_server.requests]
    guard("F02", mixed_prompts([canary for canary, _ in inputs], prompts))
