"""Many runs in a row in one process leave nothing behind, share nothing and hand over nothing but data."""

import pytest
from crewyard_runtime import Application
from crewyard_runtime.testing.failures import guard, guard_succeeded
from crewyard_runtime.testing.inputs import leaks, mixed_prompts
from crewyard_runtime.testing.plugin import Observed
from pydantic import ValidationError


def test_every_run_succeeds(observed: Observed) -> None:
    assert len(observed.report.outcomes) == len(observed.inputs)
    guard_succeeded(observed.report.outcomes)


@pytest.mark.guards("F01")
def test_nothing_that_a_run_made_outlives_it(observed: Observed) -> None:
    guard("F01", observed.report.findings("kept_after_run"))


@pytest.mark.guards("F02")
def test_no_crew_serves_two_runs(observed: Observed) -> None:
    guard("F02", observed.report.findings("served_again"))


@pytest.mark.guards("F02")
def test_no_run_sees_another_ones_data(observed: Observed) -> None:
    guard("F02", leaks(observed.canaries, [outcome.model_dump_json() for outcome in observed.report.outcomes]))


@pytest.mark.guards("F02")
def test_no_prompt_carries_data_of_two_runs(observed: Observed) -> None:
    guard("F02", mixed_prompts(observed.canaries, observed.prompts))


@pytest.mark.guards("F03")
def test_variables_are_read_by_settings_alone(observed: Observed) -> None:
    guard("F03", observed.report.findings("read_in_runs"))


@pytest.mark.guards("F05")
def test_a_run_writes_in_its_workspace_alone(observed: Observed) -> None:
    guard("F05", observed.report.findings("written"))


@pytest.mark.guards("F06")
def test_what_steps_hand_over_is_plain_data(observed: Observed) -> None:
    guard("F06", observed.report.findings("not_plain"))


@pytest.mark.guards("F07")
def test_tools_start_few_threads(observed: Observed) -> None:
    guard("F07", observed.report.findings("threads"))


@pytest.mark.guards("F08")
def test_every_tool_call_has_a_time_limit(observed: Observed) -> None:
    guard("F08", observed.report.findings("unguarded"))


@pytest.mark.guards("F10")
def test_no_module_keeps_what_a_run_was_given(observed: Observed) -> None:
    guard("F10", observed.report.findings("data_kept"))


@pytest.mark.guards("F12")
def test_no_coroutine_waits(observed: Observed) -> None:
    guard("F12", observed.report.findings("blocked"))


@pytest.mark.guards("F13")
def test_no_client_or_loop_is_handed_from_run_to_run(observed: Observed) -> None:
    guard("F13", observed.report.findings("bound"))


@pytest.mark.guards("F15")
def test_nothing_that_must_last_is_kept_on_the_disk(observed: Observed) -> None:
    guard("F15", observed.report.findings("stored"))


@pytest.mark.guards("F17")
def test_every_output_is_what_the_application_promises(observed: Observed, application: Application) -> None:
    found = []
    for outcome in observed.report.outcomes:
        try:
            if outcome.status == "succeeded":
                application.output.model_validate(outcome.output)
        except ValidationError as error:
            found.append(f"an output is no {application.output.__name__}: {error}")
    guard("F17", found)


@pytest.mark.guards("F21")
def test_no_tool_runs_what_a_model_wrote(observed: Observed) -> None:
    guard("F21", observed.report.findings("executed"))
