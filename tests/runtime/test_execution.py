"""One run in its own process: it ends as it should, in time, and leaves nothing behind."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from crewyard_runtime import Application
from crewyard_runtime.execution import RunControl, Runner, RunnerNotReady, RunRequest
from crewyard_runtime.execution.runner import clean_environment
from crewyard_runtime.execution.workspace import Workspaces
from crewyard_runtime.settings import RuntimeSettings
from crewyard_runtime.testing.model_server import ModelServer
from runtime import crews
from runtime.conftest import ALL, Run


def escaped() -> list[psutil.Process]:
    """The subprocesses of tools that left their run's session."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.cmdline() == ["sleep", crews.ESCAPED]:
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def test_a_run_gives_an_output_that_its_model_accepts(run: Run) -> None:
    outcome = run()
    assert outcome.status == "succeeded", outcome.error
    assert "a text" in outcome.output
    assert outcome.usage.model_calls == 2
    assert outcome.usage.cost_usd


def test_construction_is_told_apart_from_execution(run: Run) -> None:
    events: list[tuple[str, dict[str, Any]]] = []
    run(events=events)
    names = [event for event, _ in events]
    assert names[:3] == ["build.started", "build.finished", "run.started"]
    assert names.index("run.started") < names.index("model.called") < names.index("tool.called")


@pytest.mark.parametrize(
    ("mode", "application", "said"),
    [
        (
            "no max_iter",
            crews.works,
            "The agent 'Worker' has max_iter=25 (CrewAI's default), above the limit max_iter=7",
        ),
        ("no time limit", crews.works, "its model has timeout=None, and the limit is model_seconds=60"),
        ("guardrails", crews.works, "guardrail_max_retries=9, above the limit guardrail_retries=3"),
        ("human", crews.works, "asks a human (human_input)"),
        ("work", crews.nothing, "runtime.crews:build_nothing returned a dict: return a Crew or a Flow."),
        ("work", crews.memory, "build without memory=True"),
        ("no planning_llm", crews.planning, 'build it with planning_llm=run.llm("fast")'),
        ("work", crews.badly, "LookupError: config/agents.yaml has no writer"),
    ],
)
def test_what_must_not_start_is_refused_at_the_build(
    run: Run, server: ModelServer, mode: str, application: Application, said: str
) -> None:
    events: list[tuple[str, dict[str, Any]]] = []
    outcome = run(mode, application, events)
    assert outcome.status == "failed"
    assert outcome.error is not None
    assert said in outcome.error.reason
    assert events[-1][0] == "build.failed"
    assert not server.requests


def test_a_crew_that_plans_first_succeeds(run: Run) -> None:
    outcome = run(application=crews.planning)
    assert outcome.status == "succeeded", outcome.error


def test_an_output_that_does_not_fit_says_what_to_do(run: Run) -> None:
    outcome = run(application=crews.strict)
    assert outcome.error is not None
    assert "The result is no Strict" in outcome.error.reason
    assert "output_pydantic=Strict" in outcome.error.reason


def test_the_deadline_kills_a_tool_that_sleeps_for_ever_and_all_it_started(run: Run, settings: RuntimeSettings) -> None:
    started = time.monotonic()
    outcome = run("sleep", deadline_seconds=2)
    assert outcome.status == "timed_out"
    assert time.monotonic() - started < 3 + 7  # the fork server's own start, where this is the first run
    assert outcome.error is not None
    assert "its deadline of 2 seconds" in outcome.error.reason
    assert not escaped()
    assert not list((settings.writable_dir / "runs").iterdir())


def test_the_deadline_is_kept_within_a_second(run: Run) -> None:
    run()
    started = time.monotonic()
    assert run("sleep", deadline_seconds=1.5).status == "timed_out"
    assert time.monotonic() - started < 1.5 + 1


def test_what_a_run_left_running_ends_with_it(run: Run) -> None:
    outcome = run("sleep", tool_seconds=0.5)
    assert outcome.status == "succeeded", outcome.error
    assert not escaped()


def test_a_run_whose_process_is_killed_has_an_outcome(run: Run) -> None:
    outcome = run("die")
    assert outcome.status == "failed"
    assert outcome.error is not None
    assert "exit code -9" in outcome.error.reason


class SlowlyRenewed(RunControl):
    """A lease whose renewals take so long that a run ends between two looks of its parent."""

    def held_since(self) -> float:
        time.sleep(2)
        return time.monotonic()


def test_an_outcome_that_came_before_a_beat_is_read(settings: RuntimeSettings) -> None:
    runner = Runner(settings.model_copy(update={"lease_seconds": 6}), ALL)
    runner.start()
    request = RunRequest(run_id="r1", input={"mode": "work"}, settings={}, runtime={}, with_tools=False)
    outcome = runner.run(crews.works, request, control=SlowlyRenewed())
    assert outcome.status == "succeeded", outcome.error


def test_a_run_has_the_directory_to_itself_and_it_is_removed(run: Run, settings: RuntimeSettings) -> None:
    events: list[tuple[str, dict[str, Any]]] = []
    outcome = run("place", events=events)
    assert outcome.status == "succeeded", outcome.error
    place = str(settings.writable_dir / "runs" / "r1-1")
    assert [data["text"] for event, data in events if event == "seen"] == [f"{place} {place}"]
    assert not Path(place).exists()


def test_a_run_inherits_no_secret(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://owner:secret@db/x")
    events: list[tuple[str, dict[str, Any]]] = []
    run("environment", events=events)
    names = next(data["text"].split() for event, data in events if event == "seen")
    assert "PATH" in names
    assert not {"DATABASE_URL", "OPENAI_API_KEY", "USER"} & set(names)


def test_a_tool_that_asks_on_standard_input_gets_an_end_of_file(run: Run, server: ModelServer) -> None:
    outcome = run("ask")
    assert outcome.status == "succeeded", outcome.error
    assert "EOFError" in str(server.requests[-1]["body"]["messages"][-1])


def test_what_the_process_of_a_run_imports_again_is_light() -> None:
    said = "import sys, crewyard_runtime.cli; print({'sqlalchemy', 'celery', 'fastapi', 'rich'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_the_proxy_and_certificates_are_inherited() -> None:
    given = {"https_proxy": "http://proxy", "SSL_CERT_FILE": "/ca.pem", "MY_KEY": "x", "PYTHONPATH": "/p"}
    cleaned = clean_environment(given, Path("/w/home"))
    assert cleaned["https_proxy"] == "http://proxy"
    assert cleaned["SSL_CERT_FILE"] == "/ca.pem"
    assert cleaned["HOME"] == "/w/home"
    assert cleaned["CREWAI_DISABLE_TELEMETRY"] == "true"
    assert "MY_KEY" not in cleaned


def test_a_directory_that_cannot_be_made_is_told(settings: RuntimeSettings) -> None:
    runner = Runner(settings, ALL)
    runner.start()
    runs = settings.writable_dir / "runs"
    runs.rmdir()
    runs.write_text("a file in its place")
    outcome = runner.run(crews.works, RunRequest(run_id="r1", input={}, settings={}, runtime={}))
    assert outcome.status == "failed"
    assert outcome.error is not None
    assert str(runs) in outcome.error.reason


@pytest.mark.parametrize(
    ("build", "said"),
    [
        ("runtime.no_such_module:build", "No module named 'runtime.no_such_module'"),
        ("runtime.crashing:build", "KeyError: 'CRM_TOKEN'"),
    ],
)
def test_a_module_that_cannot_be_imported_stops_the_start(settings: RuntimeSettings, build: str, said: str) -> None:
    application = Application(name="x", input=crews.Order, output=crews.Answer, build=build)
    with pytest.raises(RunnerNotReady) as refused:
        Runner(settings, [application]).start()
    assert said in str(refused.value)


def test_a_cancelled_runner_ends_its_runs(settings: RuntimeSettings) -> None:
    runner = Runner(settings, ALL)
    runner.start()
    runner.cancel()
    outcome = runner.run(crews.works, RunRequest(run_id="r1", input={"mode": "sleep"}, settings={}, runtime={}))
    assert outcome.status == "cancelled"
    assert not escaped()


def test_the_parent_keeps_its_own_environment(settings: RuntimeSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARKER", "kept")
    Runner(settings, ALL).start()
    assert os.environ["MARKER"] == "kept"


def test_half_a_character_in_an_answer_ends_no_run(run: Run, server: ModelServer) -> None:
    server.reply("an answer with half a character: \ud83d.", times=None)
    outcome = run(with_tools=False)
    assert outcome.status == "succeeded", outcome.error
    assert "half a character: " in outcome.output


def test_a_workspace_whose_directories_are_deeper_than_python_goes_is_removed(tmp_path: Path) -> None:
    with Workspaces(tmp_path).made_for("r1") as workspace:
        here = os.open(workspace, os.O_RDONLY)
        for _ in range(3_000):
            os.mkdir("d", dir_fd=here)
            below = os.open("d", os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = below
        os.close(here)
    assert not workspace.exists()
