"""Whatever a model or provider does, a run ends, in time and with a reason that names its cause."""

import json
import time
from collections import Counter
from typing import Any

import pytest
from crewyard_runtime import Application, RunLimits
from crewyard_runtime.errors import error_chain
from crewyard_runtime.execution import Outcome
from crewyard_runtime.settings import RuntimeSettings
from crewyard_runtime.testing.failures import guard, guard_started, guard_succeeded
from crewyard_runtime.testing.inputs import marked_inputs
from crewyard_runtime.testing.model_server import ModelServer
from crewyard_runtime.testing.plugin import Runs
from crewyard_runtime.testing.schema import generate
from crewyard_runtime.testing.service import Service
from pydantic import ValidationError

CEILINGS = RunLimits(
    deadline_seconds=3_600,
    max_iter=25,
    guardrail_retries=5,
    tool_seconds=300,
    model_seconds=300,
    history_messages=100,
    delegations_in_a_row=5,
    max_tokens=5_000_000,
    max_cost_usd=50,
)
MARKER = "marker-of-the-injected-failure"
DEADLINE = 2
GRACE = 3  # for a machine that has other work: nobody waits for the answer of the model, which takes 30
PATIENCE = 20
RETRIES = 1
HISTORY = 6
SAID = ("said by run.log", "said by a library in a thread", "printed", "printed by a subprocess")
DELEGATION = ("delegate_work_to_coworker", "ask_question_to_coworker", "transfer_to_", "handoff_to_")


@pytest.fixture
def data(application: Application) -> object:
    """One input."""
    return marked_inputs(application, 1)[0][1]


@pytest.fixture(scope="module")
def offered(runs: Runs, application: Application, model_server: ModelServer) -> list[dict[str, Any]]:
    """The tools that the application's agents offer to their models."""
    before = len(model_server.requests)
    guard_started(runs([marked_inputs(application, 1)[0][1]]))
    bodies = [request["body"] or {} for request in model_server.requests[before:]]
    return [tool["function"] for body in bodies for tool in body.get("tools") or []]


@pytest.mark.guards("F08")
def test_limits_are_limits(runs: Runs) -> None:
    names = ("deadline_seconds", "max_iter", "guardrail_retries", "tool_seconds", "model_seconds")
    guard("F08", _above_ceilings(runs, *names))


@pytest.mark.guards("F08")
def test_the_deadline_kills(runs: Runs, data: object, faults: ModelServer) -> None:
    faults.clear("requests")
    faults.fail("slow", times=None, seconds=30)
    started = time.monotonic()
    outcome = runs([data], deadline_seconds=DEADLINE)[0]
    seconds = time.monotonic() - started
    guard_started([outcome])
    _skip_unless_asked(faults, outcome)
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


@pytest.mark.guards("F18")
def test_every_line_that_a_run_logs_names_it(standing_service: Service) -> None:
    [run_id] = standing_service.submit({"then": "talk"})
    standing_service.until_ended([run_id])
    lines = [json.loads(line) for line in standing_service.logs().splitlines() if line.startswith("{")]
    of_the_run = [line["message"] for line in lines if line.get("run_id") == str(run_id)]
    missing = [what for what in SAID if not any(what in message for message in of_the_run)]
    guard("F18", [f"{what!r} is in no line of the log that names its run" for what in missing])


@pytest.mark.guards("F09")
def test_a_throttled_call_is_tried_again(runs: Runs, data: object, faults: ModelServer) -> None:
    guard("F09", [] if runs.settings.limits.model_retries else ["limits.model_retries is 0: no call is tried again"])
    faults.fail("rate_limit", times=1)
    outcome = runs([data])[0]
    guard_started([outcome])
    failed = outcome.status != "succeeded"
    guard("F09", [f"a call got a 429, and the run ended as {outcome.status}: {outcome.error}"] if failed else [])


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
    if outcome.status == "succeeded":
        try:
            application.output.model_validate(outcome.output)
        except ValidationError as error:
            guard("F17", [f"a run succeeded, and its output is no {application.output.__name__}: {error}"])


@pytest.mark.guards("F11")
def test_the_history_of_messages_is_bounded(
    runs: Runs, data: object, faults: ModelServer, offered: list[dict[str, Any]]
) -> None:
    guard("F11", _above_ceilings(runs, "history_messages"))
    faults.clear("requests")
    tool = next((tool for tool in offered if not _delegates(tool["name"])), None)
    if tool is None:
        pytest.skip("no agent has a tool, by which a history could grow")
    for _ in range(6):
        faults.reply(tool=tool["name"], arguments=_arguments(tool))
    runs([data], history_messages=HISTORY)
    lengths = [len(request["body"]["messages"]) for request in _chats(faults)]
    guard("F11", [f"a model call carried {max(lengths)} messages"] if max(lengths) > HISTORY else [])


@pytest.mark.guards("F16")
def test_agents_do_not_delegate_for_ever(
    runs: Runs, data: object, faults: ModelServer, offered: list[dict[str, Any]]
) -> None:
    faults.clear("requests")
    tool = next((tool for tool in offered if _delegates(tool["name"])), None)
    if tool is None:
        pytest.skip("no agent may delegate")
    guard("F16", _above_ceilings(runs, "delegations_in_a_row"))
    faults.reply(tool=tool["name"], arguments=_arguments(tool), times=None)
    [outcome] = runs([data], deadline_seconds=PATIENCE)
    asked = sum(_may_delegate(request) for request in _chats(faults))
    stopped = outcome.error is not None and "delegated to each other" in outcome.error.reason
    endless = not stopped and asked > runs.settings.limits.delegations_in_a_row + 1
    guard("F16", [f"agents delegated {asked} times, and the run ended as {outcome.status}"] if endless else [])


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
def test_simple_steps_go_to_the_fast_model(runs: Runs, data: object, faults: ModelServer) -> None:
    chosen = RuntimeSettings.load()
    if chosen.model_fast == chosen.model_strong:
        pytest.skip("this project has one model for all steps")
    faults.clear("requests")
    guard_succeeded(runs([data]))
    bodies = [request["body"] for request in _chats(faults)]
    agents = {str(body["messages"][0]["content"]) for body in bodies}
    dear = {body["model"] for body in bodies} == {str(runs.settings.model_strong).rpartition("/")[2]}
    told = f"all {len(bodies)} model calls of {len(agents)} agents go to the strong model"
    guard("F26", [told] if dear and len(agents) > 1 else [])


@pytest.mark.guards("F26")
def test_a_budget_ends_the_run(runs: Runs, data: object, faults: ModelServer) -> None:
    guard("F26", _above_ceilings(runs, "max_tokens", "max_cost_usd"))
    [whole] = runs([data])
    guard_succeeded([whole])
    if whole.usage.model_calls < 2 or whole.usage.cost_usd is None:
        pytest.skip("a run has one model call, or calls that tell no tokens, so a budget has nothing to stop")
    [outcome] = runs([data], max_tokens=1)
    went_on = outcome.status == "succeeded"
    guard("F26", [f"a run with a budget of 1 token used {outcome.usage.tokens}, and succeeded"] if went_on else [])


def _skip_unless_asked(faults: ModelServer, outcome: Outcome) -> None:
    if outcome.status == "succeeded" and not faults.requests:
        pytest.skip("this input needs no model")


def _above_ceilings(runs: Runs, *names: str) -> list[str]:
    limits = runs.settings.limits
    chosen = {name: (getattr(limits, name), getattr(CEILINGS, name)) for name in names}
    return [
        f"{name} is {value:g}; a service has at most {most:g}" for name, (value, most) in chosen.items() if value > most
    ]


def _chats(faults: ModelServer) -> list[dict[str, Any]]:
    return [request for request in faults.requests if (request["body"] or {}).get("messages")]


def _may_delegate(request: dict[str, Any]) -> bool:
    return any(_delegates(each["function"]["name"]) for each in request["body"].get("tools") or [])


def _delegates(tool: str) -> bool:
    return tool.startswith(DELEGATION)


def _arguments(tool: dict[str, Any]) -> dict[str, Any]:
    made = generate(tool["parameters"], seed="limits")
    return dict(made) if isinstance(made, dict) else {}


def _ended(runs: Runs, data: object, faults: ModelServer) -> Outcome:
    """The outcome of one run, which must end before its deadline and must not ask the same thing again and again."""
    faults.clear("requests")
    outcome = runs([data], deadline_seconds=PATIENCE, model_retries=RETRIES)[0]
    guard_started([outcome])
    _skip_unless_asked(faults, outcome)
    same = Counter(json.dumps(request["body"], sort_keys=True) for request in faults.requests)
    allowed = (1 + RETRIES) * (1 + runs.settings.limits.guardrail_retries)
    seen = [f"one request was sent {count} times (allowed: {allowed})" for count in same.values() if count > allowed]
    if outcome.status == "timed_out":
        seen.append(f"the run did not end by itself within {PATIENCE} seconds; {sum(same.values())} requests were sent")
    guard("F08", seen)
    return outcome
