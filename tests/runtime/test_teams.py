"""AutoGen's three APIs under the runtime: the same limits hold in each, and what is used is counted alike."""

from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest
from crewyard_runtime import Application, RunLimits
from crewyard_runtime.execution import Outcome, Runner, RunRequest
from crewyard_runtime.settings import RuntimeSettings
from crewyard_runtime.testing.model_server import ModelServer
from pydantic import SecretStr
from runtime.conftest import own_fork_server
from runtime.teams.orders import LONG

FRAMEWORKS = ["autogen", "agentchat", "agent-framework"]
ASYNC = ["agentchat", "agent-framework"]
SEARCH = {"what": "it"}


class Team:
    """Runs the misbehaving teams of one framework. events: of the last run, as pairs of a kind and its data."""

    def __init__(self, framework: str, settings: RuntimeSettings) -> None:
        self.framework = framework
        self._module = import_module(f"runtime.teams.{framework.replace('-', '_')}")
        self._settings = settings.model_copy(update={"framework": framework})
        self.events: list[tuple[str, dict[str, Any]]] = []

    def __call__(
        self,
        mode: str = "work",
        application: str = "works",
        text: str = "a text",
        code_execution: str = "none",
        **limits: Any,
    ) -> Outcome:
        """Do one run."""
        changed = {"limits": RunLimits(**{"deadline_seconds": 30, **limits}), "code_execution": code_execution}
        applications = [each for each in vars(self._module).values() if isinstance(each, Application)]
        runner = Runner(self._settings.model_copy(update=changed), applications)
        runner.start()
        self.events = []
        request = RunRequest(run_id="r1", input={"mode": mode, "text": text}, settings={}, runtime={}, user_id="u1")
        chosen = getattr(self._module, application)
        return runner.run(chosen, request, lambda run_id, event, data: self.events.append((event, data)))

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        """The data of the last run's events of a kind."""
        return [data for event, data in self.events if event == kind]


@pytest.fixture(scope="module", params=FRAMEWORKS)
def made(
    request: pytest.FixtureRequest, shared_server: ModelServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Team]:
    """The teams of a framework, with a fork server that has imported it."""
    settings = RuntimeSettings(
        openai_base_url=shared_server.url,
        openai_api_key=SecretStr("sk-of-the-test"),
        model_fast="openai/gpt-4o-mini",
        model_strong="openai/gpt-4o",
        writable_dir=tmp_path_factory.mktemp("writable"),
    )
    with own_fork_server():
        yield Team(request.param, settings)


@pytest.fixture
def team(made: Team, server: ModelServer) -> Team:
    """The same, and a model server that remembers nothing of the test before."""
    return made


def reason(outcome: Outcome) -> str:
    """Why a run failed."""
    assert outcome.status == "failed", outcome
    assert outcome.error is not None
    return outcome.error.reason


def only(team: Team, *frameworks: str) -> None:
    """Skip the others, which have no such thing."""
    if team.framework not in frameworks:
        pytest.skip(f"{team.framework} has no such thing")


def test_a_team_gives_its_last_words(team: Team) -> None:
    outcome = team()
    assert outcome.status == "succeeded", outcome.error
    assert outcome.output


def test_what_a_run_uses_is_told_by_agent_and_step(team: Team, server: ModelServer) -> None:
    outcome = team()
    calls = team.of_kind("model.called")
    assert outcome.usage.model_calls == len(calls) == len(server.requests) >= 1
    assert outcome.usage.tokens == sum(call["tokens"] for call in calls) > 0
    assert outcome.usage.cost_usd
    assert {call["agent"] for call in calls} == {"worker"}
    assert all(call["step"].startswith("turn ") and call["model"] == "gpt-4o" for call in calls)
    [tool] = team.of_kind("tool.called")
    assert tool["tool"] == "do_it"
    assert tool["error"] is None
    assert team.of_kind("task.finished")


def test_a_streamed_answer_is_counted(team: Team, server: ModelServer) -> None:
    outcome = team("streams")
    assert outcome.status == "succeeded", outcome.error
    assert outcome.usage.model_calls == len(server.requests)
    assert outcome.usage.completion_tokens > 0


def test_an_answer_may_be_typed(team: Team) -> None:
    outcome = team("typed", application="typed")
    assert outcome.status == "succeeded", outcome.error
    assert set(outcome.output) == {"title", "good"}


def test_a_function_may_be_a_coroutine(team: Team, server: ModelServer) -> None:
    outcome = team("coroutine")
    assert outcome.status == "succeeded"
    assert outcome.usage.model_calls == len(server.requests) >= 1


def test_the_build_function_may_be_a_coroutine(team: Team) -> None:
    only(team, *ASYNC)
    assert team(application="awaited").status == "succeeded"


def test_what_cannot_be_run_is_refused(team: Team) -> None:
    assert "returned a int: return " in reason(team("number"))


@pytest.mark.parametrize("mode", ["no end", "too many turns"])
def test_a_team_without_an_end_is_refused(team: Team, server: ModelServer, mode: str) -> None:
    said = reason(team(mode))
    assert "run.limits.max_turns" in said
    assert not server.requests


def test_agents_that_never_end_are_ended(team: Team, server: ModelServer) -> None:
    outcome = team("endless", max_turns=6)
    assert outcome.status in ("succeeded", "failed")
    assert len(team.of_kind("task.finished")) <= 6
    if team.framework != "agentchat":
        return
    outcome = team("nested", max_turns=6)
    assert "The agents took 6 turns" in reason(outcome)


def test_a_chat_of_two_that_never_ends_is_ended(team: Team, server: ModelServer) -> None:
    only(team, "autogen")
    assert "The agents took 5 turns (the limit max_turns)" in reason(team("endless pair", max_turns=5))
    assert len(server.requests) == 5


def test_agents_that_hand_over_for_ever_are_ended(team: Team) -> None:
    only(team, "agentchat")
    said = reason(team("handoffs"))
    assert "first" in said
    assert "delegated to each other 3 times in a row" in said
    assert [each["to"] for each in team.of_kind("delegated")] == ["second", "first", "second"]


def test_a_model_may_choose_the_speaker(team: Team, server: ModelServer) -> None:
    only(team, "agentchat", "autogen")
    outcome = team("selector")
    assert outcome.usage.model_calls == len(server.requests)
    assert {call["model"] for call in team.of_kind("model.called")} == {"gpt-4o", "gpt-4o-mini"}


@pytest.mark.parametrize(
    "framework_says", [("autogen", "boss"), ("agentchat", "boss"), ("agent-framework", "ask_boss")]
)
def test_who_would_ask_a_human_is_refused_by_name(team: Team, framework_says: tuple[str, str]) -> None:
    only(team, framework_says[0])
    said = reason(team("human"))
    assert repr(framework_says[1]) in said
    assert "asks a human" in said


def test_more_calls_for_an_answer_than_the_limit_are_refused(team: Team) -> None:
    only(team, *ASYNC)
    assert "above the limit max_iter=7" in reason(team("many calls"))


def test_a_client_without_limits_is_refused(team: Team, server: ModelServer) -> None:
    said = reason(team("own client"))
    assert 'run.llm("fast")' in said
    assert not server.requests


def test_a_cache_on_the_disk_is_refused(team: Team) -> None:
    only(team, "autogen")
    assert "cache_seed=42" in reason(team("cached"))


def test_the_responses_api_is_refused(team: Team) -> None:
    only(team, "agent-framework")
    assert "Responses API" in reason(team("responses"))


@pytest.mark.parametrize("kind", ["", "async "])
def test_a_tool_that_hangs_is_given_up(team: Team, kind: str) -> None:
    outcome = team(f"{kind}sleep", tool_seconds=1)
    assert outcome.status == "succeeded", outcome.error
    assert "gave no answer within 1 seconds" in team.of_kind("tool.called")[0]["error"]
    assert outcome.run_seconds < 10


def test_a_run_that_is_killed_tells_what_it_used(team: Team) -> None:
    outcome = team("async sleep", deadline_seconds=5)
    assert outcome.status == "timed_out"
    assert outcome.usage.model_calls == 1
    assert outcome.usage.cost_usd


@pytest.mark.parametrize("kind", ["", "async "])
def test_a_tool_finds_its_run(team: Team, server: ModelServer, kind: str) -> None:
    assert team(f"{kind}current").status == "succeeded"
    [told] = [each for each in server.requests[-1]["body"]["messages"] if each["role"] == "tool"]
    assert told["content"] == "r1"


@pytest.mark.parametrize("kind", ["", "async "])
def test_an_agent_is_told_what_a_tool_raised(team: Team, server: ModelServer, kind: str) -> None:
    assert team(f"{kind}fail").status == "succeeded"
    assert "the tool's own words" in team.of_kind("tool.called")[0]["error"]
    assert "the tool's own words" in str(server.requests[-1]["body"]["messages"])


@pytest.mark.parametrize("kind", ["", "async "])
def test_a_transient_error_of_a_tool_is_tried_again(team: Team, kind: str) -> None:
    assert team(f"{kind}flaky", tool_retries=2).status == "succeeded"
    assert [each["error"] for each in team.of_kind("tool.called")] == [None]


def test_a_long_result_of_a_tool_is_cut_with_a_note(team: Team, server: ModelServer) -> None:
    outcome = team("long", tool_characters=1_000, max_tokens=10_000_000, max_cost_usd=1_000)
    assert outcome.status == "succeeded", outcome.error
    [last] = [each for each in server.requests[-1]["body"]["messages"] if each["role"] == "tool"]
    shown = str(last["content"])
    assert len(shown) <= 1_000
    assert f"{LONG - shown.count('x')} more characters are cut off here" in shown


def test_a_model_call_carries_a_bounded_history(team: Team, server: ModelServer) -> None:
    for number in range(8):
        server.reply(tool="do_it", arguments={"what": f"part {number}"})
    team("chatty", history_messages=6, max_iter=20, max_turns=40, text="the task")
    histories = [request["body"]["messages"] for request in server.requests]
    assert len(histories) > 8
    assert max(map(len, histories)) <= 6
    assert histories[-1][0]["role"] == "system"
    assert "the task" in str(histories[-1][:2])


def test_a_spent_budget_ends_the_run(team: Team) -> None:
    outcome = team(max_tokens=1)
    assert "The run's budget of 1 tokens is spent" in reason(outcome)
    assert outcome.usage.model_calls == 1


def test_a_failing_provider_ends_the_run_with_its_words(team: Team, server: ModelServer) -> None:
    server.fail("error", times=None, status=500, message="out of order")
    outcome = team(model_retries=0)
    assert "out of order" in outcome.model_dump_json()
    assert outcome.status == "failed"
    assert len(server.requests) == 1
    assert team.of_kind("model.failed")


def test_a_throttled_call_is_tried_again(team: Team, server: ModelServer) -> None:
    server.fail("rate_limit", times=1)
    assert team().status == "succeeded"


def test_an_error_in_the_teams_code_is_told_with_its_line(team: Team) -> None:
    outcome = team("breaks")
    assert reason(outcome) == "ZeroDivisionError: the agent's own words"
    assert outcome.error is not None
    assert any("runtime/teams/" in str(link.where) for link in outcome.error.chain)


def test_a_team_may_catch_its_own_errors(team: Team) -> None:
    only(team, "agentchat")
    assert team("catches").output == "caught"


def test_what_cannot_be_pickled_is_told_as_it_is(team: Team) -> None:
    assert "pickle" in reason(team("pickles"))


def test_code_of_a_model_is_executed_in_the_sandbox(team: Team, server: ModelServer) -> None:
    server.reply(tool="execute_code", arguments={"code": "print(40 + 2)", "language": "python"})
    outcome = team("code", code_execution="local")
    assert outcome.status == "succeeded", outcome.error
    [event] = team.of_kind("code.executed")
    assert event["exit_code"] == 0
    assert "42" in (str(outcome.output) if team.framework != "agent-framework" else str(server.requests[-1]["body"]))


def test_code_is_executed_nowhere_else(team: Team) -> None:
    only(team, "autogen", "agentchat")
    said = reason(team("code elsewhere", code_execution="local"))
    assert "run.code_executor()" in said
    assert "outside of the sandbox" in said


def test_each_kind_of_refusal_is_told_as_its_own(team: Team) -> None:
    only(team, "autogen")
    outcome = team("human code", code_execution="local")
    assert "asks a human" in reason(outcome)
    assert outcome.error is not None
    assert {"BuildRefused", "OutsideSandbox"} <= {link.type.rpartition(".")[2] for link in outcome.error.chain}


def test_a_project_without_a_sandbox_executes_no_code(team: Team) -> None:
    assert "This project executes no code: set CODE_EXECUTION=docker" in reason(team("code"))
