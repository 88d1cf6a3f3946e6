"""On CrewAI's own platform: the context comes from the environment, with the same limits."""

import subprocess
import sys
from pathlib import Path

import pytest
from crewyard_runtime.testing.model_server import ModelServer

SCRIPT = """
from crewyard_runtime import RunContext, quiet_frameworks

quiet_frameworks()
from runtime.crews import Order, build

run = RunContext.current(Order(mode="work"))
assert RunContext.current() is run
print(run.workspace, run.user_id)
print(build(run).kickoff(inputs={"text": "a text"}))
print(run.usage.total.model_calls)
"""


@pytest.fixture
def platform(server: ModelServer, tmp_path: Path) -> dict[str, str]:
    """The environment of a platform's process."""
    declared = tmp_path / "crews-1.0.dist-info"
    declared.mkdir()
    (declared / "METADATA").write_text("Metadata-Version: 2.1\nName: crews\nVersion: 1.0\n")
    (declared / "entry_points.txt").write_text("[crewyard.applications]\nworks = runtime.crews:works\n")
    return {
        "PATH": "/usr/bin:/bin",
        "HOME": str(tmp_path),
        "TMPDIR": str(tmp_path),
        "PYTHONPATH": f"{tmp_path}:{Path(__file__).parent.parent}",
        "OPENAI_BASE_URL": server.url,
        "OPENAI_API_KEY": "sk-of-the-test",
        "USER_ID": "alice",
    }


def _run(environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env=environment,
        cwd=environment["HOME"],
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_crew_runs_in_the_process_that_is_there(platform: dict[str, str]) -> None:
    done = _run(platform)
    workspace, user, *rest = done.stdout.split()
    assert user == "alice"
    assert "text" in rest
    assert rest[-1] == "2", "its model calls are counted"
    assert not Path(workspace).exists()


def test_every_missing_setting_is_named_before_a_model_is_asked(platform: dict[str, str], server: ModelServer) -> None:
    done = _run({**platform, "OPENAI_API_KEY": "", "TEMPERATURE": "hot"})
    last = done.stderr.strip().splitlines()[-1]
    assert "NotConfigured" in last
    assert "TEMPERATURE is invalid" in last
    assert "OPENAI_API_KEY is not set" in last
    assert not server.requests


def test_a_spent_budget_ends_the_crew(platform: dict[str, str], server: ModelServer) -> None:
    done = _run({**platform, "LIMITS__MAX_TOKENS": "50"})
    assert "The run's budget of 50 tokens is spent" in done.stderr
    assert len(server.requests) == 1
