"""Whatever a model or provider does, a run ends, in time and with a reason that names its cause."""

import json
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from crewyard_runtime import Application, RunLimits
from crewyard_runtime.errors import error_chain
from crewyard_runtime.execution import Outcome
from crewyard_runtime.testing.failures import guard, guard_started, guard_succeeded
from crewyard_runtime.testing.inputs import marked_inputs
from crewyard_runtime.testing.model_server import ModelServer
from crewyard_runtime.testing.plugin import Runs
from crewyard_runtime.testing.schema import generate
from pydantic import ValidationError

CEILINGS = RunLimits(deadline_seconds=3_600, max_iter=25, guardrail_retries=5, tool_seconds=300, model_seconds=300)
MARKER = "marker-of-the-injected-failure"
DEADLINE = 3
GRACE = 1
PATIENCE = 30
HISTORY = 6
DELEGATION = ("delegate_work_to_coworker", "ask_question_to_coworker")


@pytest.fixture
def data(application: Application) -> object:
    """One input."""
    return marked_inputs(application, 1)[0][1]


@pytest.mark.guards("F08")
def test_limits_are_limits(runs: Runs) -> None:
    limits = runs.settings.limits
    names = ("deadline_seconds", "max_iter", "guardrail_retries", "tool_seconds", "model_seconds")
    guard(
        "F08",
        [f"{name} is {getattr(limits, name)}" for name in names if getattr(limits, name) > getattr(CEILINGS, name)],
    )


@pytest.mark.guards("F08")
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


@pytest.mark.guards("F08", "F18")
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


@pytest.mark.guards("F18")
def test_an_error_is_told_with_all_that_it_came_from() -> None:
    try:
        try:
            raise KeyError("the cause")
        except KeyError as cause:
            raise ValueError("the effect") from cause
    except ValueError as effect:
        told = [(link.type, link.where is not None) for link in error_chain(effect)]
    guard("F18", [] if told == [("ValueError", True), ("KeyError", True)] else [f"of a chain of two is told: {told}"])


@pytest.mark.guards("F09")
def test_a_throttled_call_is_tried_again(runs: Runs, data: object, faults: ModelServer) -> None:
    times = min(2, runs.settings.limits.model_retries)
    if times == 0:
        pytest.skip("LIMITS__MODEL_RETRIES is 0: this project has chosen that no call is tried again")
    faults.fail("rate_limit", times=times)
    outcome = runs([data])[0]
    guard_started([outcome])
    failed = outcome.status != "succeeded"
    guard("F09", [f"{times} calls got a 429, and the run ended as {outcome.status}: {outcome.error}"] if failed else [])


@pytest.mark.guards("F08", "F18")
def test_a_throttling_provider_ends_the_run(runs: Runs, data: object, faults: ModelServer) -> None:
    faults.fail("rate_limit", times=None)
    outcome = _ended(runs, data, faults)
    guard("F18", [] if outcome.error else [f"no model answered, and the run ended as {outcome.status}, with no error"])


@pytest.mark.guards("F08", "F17")
def test_a_model_that_always_answers_nonsense_ends_the_run(
    runs: Runs, data: object, faults: ModelServer, application: Application
) -> None:
    faults.reply("I would rather talk about the weather.", times=None)
    outcome = _ended(runs, data, faults)
    assert faults.requests, "no model was asked, so this test saw nothing"
    if outcome.status == "succeeded":
        try:
            application.output.model_validate(outcome.output)
        except ValidationError as error:
            guard("F17", [f"a run succeeded, and its output is no {application.output.__name__}: {error}"])


@pytest.mark.guards("F11")
def test_the_history_of_messages_is_bounded(runs: Runs, data: object, faults: ModelServer) -> None:
    tool = _offered_tool(runs, data, faults, lambda name: name not in DELEGATION)
    if tool is None:
        pytest.skip("no agent has a tool, by which a history could grow")
    for _ in range(6):
        faults.reply(tool=tool["name"], arguments=_arguments(tool))
    runs([data], history_messages=HISTORY)
    lengths = [len(request["body"]["messages"]) for request in _chats(faults)]
    guard("F11", [f"a model call carried {max(lengths)} messages"] if max(lengths) > HISTORY else [])


@pytest.mark.guards("F16")
def test_agents_do_not_delegate_for_ever(runs: Runs, data: object, faults: ModelServer) -> None:
    tool = _offered_tool(runs, data, faults, lambda name: name in DELEGATION)
    if tool is None:
        pytest.skip("no agent may delegate")
    faults.reply(tool=tool["name"], arguments=_arguments(tool), times=None)
    outcome = runs([data], deadline_seconds=PATIENCE)[0]
    late = outcome.status == "timed_out"
    guard("F16", [f"agents delegated until the deadline, in {len(_chats(faults))} model calls"] if late else [])


@pytest.mark.guards("F26")
def test_every_model_call_is_counted(runs: Runs, data: object, faults: ModelServer) -> None:
    faults.clear("requests")
    [outcome] = runs([data])
    guard_succeeded([outcome])
    if outcome.usage.cost_usd is None:
        pytest.skip("a model call of this application tells no tokens, so its cost is unknown, and shown as that")
    calls, counted = len(_chats(faults)), outcome.usage.model_calls
    guard("F26", [f"{calls} model calls were made, and {counted} are counted"] if calls != counted else [])


@pytest.mark.guards("F26")
def test_a_budget_ends_the_run(runs: Runs, data: object, faults: ModelServer) -> None:
    [whole] = runs([data])
    guard_succeeded([whole])
    if whole.usage.model_calls < 2 or whole.usage.cost_usd is None:
        pytest.skip("a run has one model call, or calls that tell no tokens, so a budget has nothing to stop")
    [outcome] = runs([data], max_tokens=1)
    went_on = outcome.status == "succeeded"
    guard("F26", [f"a run with a budget of 1 token used {outcome.usage.tokens}, and succeeded"] if went_on else [])


def _chats(faults: ModelServer) -> list[dict[str, Any]]:
    return [request for request in faults.requests if (request["body"] or {}).get("messages")]


def _offered_tool(
    runs: Runs, data: object, faults: ModelServer, wanted: Callable[[str], bool]
) -> dict[str, Any] | None:
    """A tool that an agent of the application offers to its model; what was asked and recorded is forgotten."""
    faults.clear("requests")
    guard_started(runs([data]))
    offered = [tool["function"] for request in _chats(faults) for tool in request["body"].get("tools") or []]
    faults.clear("requests")
    return next((tool for tool in offered if wanted(tool["name"])), None)


def _arguments(tool: dict[str, Any]) -> dict[str, Any]:
    made = generate(tool["parameters"], seed="limits")
    return dict(made) if isinstance(made, dict) else {}


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
