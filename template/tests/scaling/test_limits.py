"""Whatever a model or provider does, a run ends, in time and with a reason that names its cause."""

import json
import time
from collections import Counter

import pytest
from crewyard_runtime import Application, RunLimits
from crewyard_runtime.errors import error_chain
from crewyard_runtime.execution import Outcome
from crewyard_runtime.testing.failures import guard, guard_started
from crewyard_runtime.testing.inputs import marked_inputs
from crewyard_runtime.testing.model_server import ModelServer
from crewyard_runtime.testing.plugin import Runs

CEILINGS = RunLimits(deadline_seconds=3_600, max_iter=25, guardrail_retries=5, tool_seconds=300, model_seconds=300)
MARKER = "marker-of-the-injected-failure"
DEADLINE = 3
GRACE = 1
PATIENCE = 30


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
    guard_started([outcome])
    seen = [] if outcome.status == "timed_out" else [f"the run ended as {outcome.status}: {outcome.error}"]
    if seconds > DEADLINE + GRACE:
        seen.append(f"the run ended after {seconds:.1f} s, and its deadline is {DEADLINE} s")
    guard("F08", seen)


def test_a_provider_that_always_fails_ends_the_run(runs: Runs, data: object, faults: ModelServer) -> None:
    faults.fail("error", times=None, status=500, message=MARKER)
    outcome = _ended(runs, data, faults)
    told = outcome.model_dump_json()
    seen = [] if outcome.status == "failed" else [f"the run ended as {outcome.status} although no model answered"]
    if MARKER not in told:
        seen.append(f"the provider's own message is not in the chain of errors: {outcome.error}")
    if outcome.error is None or not outcome.error.chain:
        seen.append("the outcome has no chain of errors")
    if not outcome.run_id:
        seen.append("the outcome does not say which run it is")
    guard("F18", seen)


def test_an_error_is_told_with_all_that_it_came_from() -> None:
    try:
        try:
            raise KeyError("the cause")
        except KeyError as cause:
            raise ValueError("the effect") from cause
    except ValueError as effect:
        told = [(link.type, link.where is not None) for link in error_chain(effect)]
    guard("F18", [] if told == [("ValueError", True), ("KeyError", True)] else [f"of a chain of two is told: {told}"])


def test_a_throttling_provider_ends_the_run(runs: Runs, data: object, faults: ModelServer) -> None:
    faults.fail("rate_limit", times=None)
    outcome = _ended(runs, data, faults)
    assert outcome.error is not None


def test_a_model_that_always_answers_nonsense_ends_the_run(runs: Runs, data: object, faults: ModelServer) -> None:
    faults.reply("I would rather talk about the weather.", times=None)
    _ended(runs, data, faults)
    assert faults.requests, "no model was asked, so this test saw nothing"


def _ended(runs: Runs, data: object, faults: ModelServer) -> Outcome:
    """The outcome of one run, which must end before its deadline and must not ask the same thing again and again."""
    faults.clear("requests")
    outcome = runs([data], deadline_seconds=PATIENCE)[0]
    guard_started([outcome])
    same = Counter(json.dumps(request["body"], sort_keys=True) for request in faults.requests)
    allowed = (1 + runs.settings.limits.model_retries) * (1 + runs.settings.limits.guardrail_retries)
    seen = [f"one request was sent {count} times (allowed: {allowed})" for count in same.values() if count > allowed]
    if outcome.status == "timed_out":
        seen.append(f"the run did not end by itself within {PATIENCE} seconds; {sum(same.values())} requests were sent")
    guard("F08", seen)
    return outcome
