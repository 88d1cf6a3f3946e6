"""Whatever a model or provider does, a run ends, in time and with a reason that names its cause."""

import time

import pytest
from crewyard_runtime import Application, RunLimits
from crewyard_runtime.testing.failures import guard
from crewyard_runtime.testing.inputs import marked_inputs
from crewyard_runtime.testing.model_server import ModelServer
from crewyard_runtime.testing.plugin import Runs

CEILINGS = RunLimits(deadline_seconds=3_600, max_iter=25, guardrail_retries=5, tool_seconds=300, model_seconds=300)
MARKER = "marker-of-the-injected-failure"
DEADLINE = 3
GRACE = 1
REQUESTS = 200


@pytest.fixture
def data(application: Application) -> object:
    """One input."""
    return marked_inputs(application, 1)[0][1]


def test_limits_are_limits(runs: Runs) -> None:
    limits = runs.settings.limits
    names = ("deadline_seconds", "max_iter", "guardrail_retries", "tool_seconds", "model_seconds")
    guard(
        "F08",
        [f"{name} is {getattr(limits, name)}" for name in names if getattr(limits, name) > getattr(CEILINGS, name)],
    )


def test_the_deadline_kills(runs: Runs, data: object, faults: ModelServer) -> None:
    faults.fail("slow", times=None, seconds=30)
    started = time.monotonic()
    outcome = runs([data], deadline_seconds=DEADLINE)[0]
    seconds = time.monotonic() - started
    seen = [] if outcome.status == "timed_out" else [f"the run ended as {outcome.status}: {outcome.error}"]
    if seconds > DEADLINE + GRACE:
        seen.append(f"the run ended after {seconds:.1f} s, and its deadline is {DEADLINE} s")
    guard("F08", seen)


def test_a_provider_that_always_fails_ends_the_run(runs: Runs, data: object, faults: ModelServer) -> None:
    faults.fail("error", times=None, status=500, message=MARKER)
    before = len(faults.requests)
    outcome = runs([data])[0]
    requests = len(faults.requests) - before
    guard("F08", [f"{requests} requests were sent to a provider that fails"] if requests > REQUESTS else [])
    told = outcome.model_dump_json()
    seen = [] if outcome.status == "failed" else [f"the run ended as {outcome.status} although no model answered"]
    if MARKER not in told:
        seen.append(f"the provider's own message is not in the chain of errors: {outcome.error}")
    if outcome.error is None or not outcome.error.chain:
        seen.append("the outcome has no chain of errors")
    guard("F18", seen)


def test_a_throttling_provider_ends_the_run(runs: Runs, data: object, faults: ModelServer) -> None:
    faults.fail("rate_limit", times=None)
    before = len(faults.requests)
    outcome = runs([data])[0]
    requests = len(faults.requests) - before
    allowed = 1 + runs.settings.limits.model_retries
    assert outcome.error is not None
    guard(
        "F08", [f"a throttled call was sent {requests} times, and {allowed} are allowed"] if requests > allowed else []
    )


def test_a_model_that_always_answers_nonsense_ends_the_run(runs: Runs, data: object, faults: ModelServer) -> None:
    faults.reply("I would rather talk about the weather.", times=None)
    before = len(faults.requests)
    runs([data])
    requests = len(faults.requests) - before
    guard("F08", [f"{requests} requests were sent to a model that talks nonsense"] if requests > REQUESTS else [])
