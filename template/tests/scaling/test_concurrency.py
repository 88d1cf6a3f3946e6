"""Ten runs at once, each in its own process with its own directory, do not mix."""

import pytest
from crewyard_runtime import Application
from crewyard_runtime.execution import Outcome
from crewyard_runtime.testing.failures import guard, guard_succeeded
from crewyard_runtime.testing.inputs import leaks, marked_inputs, mixed_prompts
from crewyard_runtime.testing.model_server import ModelServer
from crewyard_runtime.testing.plugin import Runs

AT_ONCE = 10


@pytest.fixture(scope="module")
def inputs(application: Application) -> list[tuple[str | None, object]]:
    """An input for each run, with a canary of its own."""
    return marked_inputs(application, AT_ONCE)


@pytest.fixture(scope="module")
def outcomes(inputs: list[tuple[str | None, object]], runs: Runs) -> list[Outcome]:
    """All of them at the same time."""
    return runs([data for _, data in inputs], parallel=AT_ONCE)


def test_every_run_succeeds(outcomes: list[Outcome]) -> None:
    assert len(outcomes) == AT_ONCE
    guard_succeeded(outcomes)


@pytest.mark.guards("F02")
def test_no_result_carries_another_runs_data(outcomes: list[Outcome], inputs: list[tuple[str | None, object]]) -> None:
    canaries = [canary for canary, _ in inputs]
    guard("F02", leaks(canaries, [outcome.model_dump_json() for outcome in outcomes]))


@pytest.mark.guards("F02")
def test_no_prompt_carries_data_of_two_runs(
    outcomes: list[Outcome], inputs: list[tuple[str | None, object]], model_server: ModelServer
) -> None:
    canaries = [canary for canary, _ in inputs if canary]
    if not canaries:
        pytest.skip("no text field of the input can carry a canary")
    prompts = [str(request["body"]) for request in model_server.requests]
    guard_succeeded(outcomes)
    if not any(canary in prompt for canary in canaries for prompt in prompts):
        pytest.skip("no prompt carries the text of its input")
    guard("F02", mixed_prompts(canaries, prompts))
