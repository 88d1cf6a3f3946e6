"""No scaling test fails for a correct crew: each package of `correct/` takes the place of a project's own.

By default what is seen of runs in a row, and the limits for crews that call models or tools in a way of their own.
`CREWS=each` has the limits and runs at once for every crew, `CREWS=all` all that judges an application, also behind a
gateway; `-k NAME` takes one crew.
"""

import os
import shutil
from pathlib import Path

import pytest
from conftest import Projects
from mutants.copies import copy_of, failures, scaling_tests

CREWS = sorted(path.parent.name for path in Path(__file__).parent.glob("correct/*/application.py"))
QUICK = ("import", "runs")
EACH = (*QUICK, "concurrency", "limits")
ALL = (*EACH, "startup", "secrets", "memory", "service")
HOW = os.environ.get("CREWS", "some")
LIMITED = {"async_flow", "custom_llm", "delegation", "swarm", "chosen_speakers", "plain_functions"}
FRAMEWORKS = {
    "swarm": "agentchat",
    "writers": "agentchat",
    "two_agents": "autogen",
    "chosen_speakers": "autogen",
    "one_agent": "agent-framework",
    "plain_functions": "agent-framework",
}
# What looks at the runtime alone, by an application of its own.
NOT_THEIRS = (
    "an_error_is_told",
    "every_line_that_a_run_logs",
    "finds_no_secret_of_the_service",
    "looking_around",
    "runs_ask_for",
    "memory_outlives",
    "wild_user",
    "nobodys",
    "at_random",
    "a_run_goes_on_while",
)
WITH_TOOLS = {
    "async_flow",
    "delegation",
    "input_for_tools",
    "languages",
    "long_outputs",
    "many_tools",
    "secret_setting",
    "swarm",
    "two_agents",
    "one_agent",
}
WHO_DELEGATES = {"delegation", "hierarchical", "manager_llm", "swarm"}
WITHOUT_A_TEXT = {"no_tools"}
TEXT_FOR_TOOLS = {"input_for_tools"}
WITH_ONE_CALL = {"no_tools"}


@pytest.mark.parametrize("crew", CREWS)
def test_no_scaling_test_fails_for_a_correct_crew(projects: Projects, tmp_path: Path, crew: str) -> None:
    project = projects(FRAMEWORKS.get(crew, "crewai"))
    place = copy_of(project, tmp_path / "project")
    shutil.rmtree(place / "src/my_crew")
    source = Path(__file__).parent / "correct" / crew
    shutil.copytree(source, place / "src/my_crew", ignore=shutil.ignore_patterns("__pycache__"))
    modules = {"all": ALL, "each": EACH}.get(HOW, EACH if crew in LIMITED else QUICK)
    chosen = ["-k", " and ".join(f"not {name}" for name in NOT_THEIRS)]
    cases = scaling_tests(place, project, *(f"tests/scaling/test_{name}.py" for name in modules), *chosen)
    failed = failures(cases)
    assert not failed, f"{crew} is correct, and {len(failed)} tests fail:\n" + "\n".join(failed.values())
    assert len([case for case in cases if case.ended == "passed"]) > 15
    skipped = {case.name: case.said.partition("\n")[0] for case in cases if case.ended == "skipped"}
    wanted = _skips(crew, modules)
    assert skipped == {test: why for test, why in wanted.items() if test in {case.name for case in cases}}


def _skips(crew: str, modules: tuple[str, ...]) -> dict[str, str]:
    """What cannot be judged for a crew, and why."""
    at_once = "concurrency" in modules  # a test of runs in a row has the same name
    reasons = {
        "test_the_history_of_messages_is_bounded": (
            "no agent has a tool, by which a history could grow",
            crew not in WITH_TOOLS,
        ),
        "test_agents_do_not_delegate_for_ever": ("no agent may delegate", crew not in WHO_DELEGATES),
        "test_no_prompt_carries_data_of_two_runs": (
            "no text field of the input can carry a canary",
            crew in WITHOUT_A_TEXT and at_once,
        ),
        "test_agents_know_their_user_and_no_other": (
            "no field of the input holds a text, by which the memory is asked",
            crew in WITHOUT_A_TEXT,
        ),
        "test_a_budget_ends_the_run": (
            "a run has one model call, or calls that tell no tokens, so a budget has nothing to stop",
            crew in WITH_ONE_CALL,
        ),
    }
    found = {test: why for test, (why, skipped) in reasons.items() if skipped}
    if crew in TEXT_FOR_TOOLS and at_once:
        found["test_no_prompt_carries_data_of_two_runs"] = "no prompt carries the text of its input"
    return found
