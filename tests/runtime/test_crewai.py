"""CrewAI under the runtime: its limits hold, and what it uses is counted."""

from typing import Any

import pytest
from crewyard_runtime.context import RunContext
from crewyard_runtime.frameworks.crewai import make_llm
from crewyard_runtime.frameworks.messages import bounded_history, tell_what_is_known
from crewyard_runtime.guardrails.delegation import DelegationGuard
from crewyard_runtime.settings import RuntimeSettings
from crewyard_runtime.testing.model_server import ModelServer
from runtime.conftest import Run

HELPER = {"coworker": "Helper", "task": "Do it.", "context": "None."}


def message(role: str, text: str) -> dict[str, str]:
    return {"role": role, "content": text}


def test_the_third_delegation_between_two_agents_ends_the_run(run: Run, server: ModelServer) -> None:
    server.reply(tool="delegate_work_to_coworker", arguments=HELPER, times=None)
    outcome = run("delegate")
    assert outcome.status == "failed"
    assert outcome.error is not None
    assert "Worker and Helper delegated to each other 3 times in a row" in outcome.error.reason
    assert outcome.error.chain


@pytest.mark.parametrize(
    ("pairs", "ended"),
    [
        (["AB", "AB", "AB"], True),
        (["AB", "BA", "AB"], True),
        (["AB", "AB", "AC", "AB"], False),
        (["AB", "AC", "BC", "AB", "AC"], False),
    ],
    ids=str,
)
def test_delegations_in_a_row_are_counted_in_both_directions(pairs: list[str], ended: bool) -> None:
    guard = DelegationGuard(allowed_in_a_row=2)
    said = [guard.record(pair[0], f'"{pair[1].lower()} "') for pair in pairs]
    assert bool(said[-1]) is ended
    assert not any(said[:-1])


def test_a_manager_may_hand_each_task_to_the_same_agent() -> None:
    guard = DelegationGuard(allowed_in_a_row=2)
    for _ in range(3):
        guard.reset()
        assert [guard.record("A", "B"), guard.record("A", "B")] == [None, None]


def test_a_spent_token_budget_ends_the_run(run: Run) -> None:
    outcome = run(max_tokens=50)
    assert outcome.status == "failed"
    assert outcome.error is not None
    assert "The run's budget of 50 tokens is spent" in outcome.error.reason
    assert outcome.usage.model_calls == 1


def test_a_spent_cost_budget_ends_the_run(run: Run) -> None:
    outcome = run(max_cost_usd=0.00001)
    assert outcome.error is not None
    assert "The run's budget of 1e-05 USD is spent" in outcome.error.reason


def test_a_model_that_calls_tools_for_ever_reaches_max_iter(run: Run, server: ModelServer) -> None:
    server.reply(tool="do_it", arguments={"what": "more"}, times=None)
    outcome = run(max_iter=3)
    assert outcome.usage.model_calls <= 3 + 1  # CrewAI asks once more for a final answer


def test_a_model_call_carries_a_bounded_history(run: Run, server: ModelServer) -> None:
    for number in range(20):  # CrewAI itself ends a run that repeats one call
        server.reply(tool="do_it", arguments={"what": f"part {number}"})
    run(max_iter=20, history_messages=8, max_tokens=10_000_000)
    histories = [request["body"]["messages"] for request in server.requests]
    assert len(histories) > 10
    assert max(map(len, histories)) <= 8
    for history in histories:
        assert [each["role"] for each in history[:2]] == ["system", "user"]
        assert "a text" in history[1]["content"]


def test_history_keeps_the_task_and_no_answer_without_its_call() -> None:
    calls = [[message("assistant", f"call {n}"), message("tool", f"result {n}")] for n in range(10)]
    history = [message("system", "s"), message("user", "task"), *(each for pair in calls for each in pair)]
    kept = bounded_history(history, 5)
    assert kept[:2] == history[:2]
    assert kept[2]["role"] == "assistant"
    assert kept[-1] == history[-1]
    assert len(kept) <= 5
    assert bounded_history(history[:4], 5) == history[:4]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_transient_answer_of_the_provider_is_tried_again(run: Run, server: ModelServer, status: int) -> None:
    server.fail(**({"kind": "rate_limit"} if status == 429 else {"kind": "error", "status": status}), times=1)
    assert run().status == "succeeded"
    assert [request["status"] for request in server.requests][:2] == [status, 200]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_a_final_answer_of_the_provider_is_not_tried_again(run: Run, server: ModelServer, status: int) -> None:
    server.fail("error", times=None, status=status, message="final-answer-of-the-provider")
    outcome = run()
    assert outcome.status == "failed"
    assert len(server.requests) == 1
    assert "final-answer-of-the-provider" in outcome.model_dump_json()


def test_a_call_that_is_throttled_for_ever_is_tried_as_often_as_the_limit_says(run: Run, server: ModelServer) -> None:
    server.fail("rate_limit", times=None)
    assert run(model_retries=2).status == "failed"
    assert len(server.requests) == 3


@pytest.mark.parametrize("kind", ["broken_json", "empty", "drop"])
def test_a_provider_that_answers_badly_ends_the_run_with_a_reason(run: Run, server: ModelServer, kind: str) -> None:
    server.fail(kind, times=None)
    outcome = run(model_retries=1)
    assert outcome.status == "failed"
    assert outcome.error is not None
    assert outcome.error.reason
    assert len(server.requests) < 20


def test_a_slow_model_ends_at_its_time_limit(run: Run, server: ModelServer) -> None:
    server.fail("slow", times=None, seconds=60)
    outcome = run(model_seconds=0.5, model_retries=0)
    assert outcome.status == "failed"
    assert outcome.error is not None
    assert "timed out" in outcome.error.reason.lower() or "timeout" in outcome.error.reason.lower()


def test_an_agent_hears_why_a_tool_failed(run: Run, server: ModelServer) -> None:
    assert run("fail").status == "succeeded"
    answers = [each for request in server.requests for each in request["body"]["messages"] if each["role"] == "tool"]
    assert "The tool do_it failed: ValueError: the CRM knows no such customer." in answers[0]["content"]


def test_without_tools_none_is_offered(run: Run, server: ModelServer) -> None:
    assert run("die", with_tools=False).status == "succeeded"
    assert not any(request["body"].get("tools") for request in server.requests)


def test_a_model_client_has_the_limits_of_its_run(settings: RuntimeSettings) -> None:
    class _Run:
        limits = settings.limits

    run: Any = _Run()
    llm: Any = make_llm(run, settings.model_copy(update={"temperature": 0.3}), "strong")
    assert (llm.model, llm.timeout, llm.max_retries, llm.temperature) == ("gpt-4o", 60, 3, 0.3)
    with pytest.raises(ValueError, match='"fast" and "strong"'):
        make_llm(run, settings, "cheap")


def test_outside_of_a_run_there_is_no_context() -> None:
    with pytest.raises(LookupError, match="No run is in progress"):
        RunContext.current()


def test_what_is_known_is_told_once_in_the_system_message() -> None:
    messages = [{"role": "system", "content": "You answer."}, {"role": "user", "content": "Where do I live?"}]
    for _ in range(3):  # CrewAI keeps the list from call to call
        tell_what_is_known(messages, "known: lives in Oslo")
    assert messages[0]["content"] == "You answer.\n\nknown: lives in Oslo"
    assert messages[1]["content"] == "Where do I live?"


def test_nothing_known_changes_no_message() -> None:
    messages = [{"role": "system", "content": "You answer."}]
    tell_what_is_known(messages, "")
    assert messages == [{"role": "system", "content": "You answer."}]


def test_a_message_of_parts_is_left_alone() -> None:
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": [{"type": "text", "text": "a picture"}]},
        {"role": "user", "content": "Where do I live?"},
    ]
    tell_what_is_known(messages, "known: lives in Oslo")
    assert messages[0]["content"] == [{"type": "text", "text": "a picture"}]
    assert messages[1]["content"].endswith("lives in Oslo")


def test_a_long_result_of_a_tool_is_cut_with_a_note(run: Run, server: ModelServer) -> None:
    outcome = run("long", tool_characters=1_000)
    assert outcome.status == "succeeded", outcome.error
    said = str(server.requests[-1]["body"]["messages"])
    assert "more characters are cut off here" in said
    assert said.count("x") < 1_500


def test_code_of_a_model_is_executed_in_the_sandbox(run: Run, server: ModelServer) -> None:
    server.reply(tool="execute_code", arguments={"code": "print(40 + 2)", "language": "python"})
    events: list[tuple[str, dict[str, Any]]] = []
    outcome = run("code", events=events, code_execution="local")
    assert outcome.status == "succeeded", outcome.error
    assert "exit code 0\\n42" in str(server.requests[-1]["body"]["messages"])
    assert [data["exit_code"] for kind, data in events if kind == "code.executed"] == [0]


def test_a_project_without_a_sandbox_executes_no_code(run: Run) -> None:
    outcome = run("code")
    assert outcome.error is not None
    assert "This project executes no code: set CODE_EXECUTION=docker" in outcome.error.reason
