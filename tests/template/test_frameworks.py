"""Each framework's project works like CrewAI's, differs from it where the framework does, and becomes another's."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import copier
import pytest
from conftest import Projects, commit, sh

FRAMEWORKS = ["autogen", "agentchat", "agent-framework"]
LINTERS = [("ruff", "check"), ("ruff", "format", "--check"), ("mypy",), ("lint-imports",)]
OF_THE_RUNTIME = [f"--ignore=tests/scaling/test_{name}.py" for name in ("faults", "gateway", "soak")]
THEIRS = ("src/", "tests/unit/", "README.md", "pyproject.toml", "platform.toml", ".copier-answers.yml")
LIBRARIES = ("crewai", "autogen", "agent-framework", "openai")
TO_PORT = ["src/my_crew/crew.py", "src/my_crew/guardrails.py", "src/my_crew/main.py"]
TO_PORT += ["src/my_crew/tools/knowledge_base.py", "tests/unit/test_support.py"]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_its_own_tests_and_linters_pass(projects: Projects, framework: str) -> None:
    """Without what looks at the runtime alone, by an application that has no framework: CrewAI's project runs that."""
    place = projects(framework)
    for linter in LINTERS:
        sh(place, "uv", "run", *linter)
    said = sh(place, "uv", "run", "pytest", "-q", *OF_THE_RUNTIME).stdout
    assert re.search(r"\d+ passed", said), said
    assert set(re.findall(r"^SKIPPED .*?: (.*)", said, re.MULTILINE)) == {"no agent may delegate"}, said


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_demo_runs_with_no_key(projects: Projects, framework: str) -> None:
    done = sh(projects(framework), "uv", "run", "my-crew", "demo")
    assert "search_knowledge_base" in done.stdout
    assert done.stdout.count("succeeded") == 3


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_only_what_a_framework_decides_differs(template: Path, tmp_path: Path, framework: str) -> None:
    places = {name: tmp_path / name for name in ("crewai", framework)}
    for name, place in places.items():
        copier.run_copy(str(template), place, data={"framework": name}, defaults=True, quiet=True)
    theirs, ours = (
        {
            str(path.relative_to(place)): path.read_bytes()
            for path in place.rglob("*")
            if path.is_file() and not str(path.relative_to(place)).startswith(THEIRS)
        }
        for place in places.values()
    )
    assert theirs == ours
    assert _without_the_framework(places["crewai"]) == _without_the_framework(places[framework])


def _without_the_framework(place: Path) -> dict[str, Any]:
    """pyproject.toml without the libraries, what CrewAI's own platform asks for, and what CrewAI installs in vain."""
    project = tomllib.loads((place / "pyproject.toml").read_text("utf-8"))
    libraries = project["dependency-groups"]["platform"]
    project["dependency-groups"]["platform"] = [each for each in libraries if not each.startswith(LIBRARIES)]
    project["project"]["scripts"].pop("kickoff", None)
    project["tool"].pop("crewai", None)
    project["tool"]["uv"].pop("exclude-dependencies", None)
    return project


@pytest.fixture
def changed(template: Path, tmp_path: Path) -> Path:
    """An edited project of CrewAI whose framework has been changed to AgentChat."""
    place = tmp_path / "changed"
    copier.run_copy(str(template), place, defaults=True, quiet=True)
    crew = place / "src/my_crew/crew.py"
    crew.write_text(crew.read_text() + "# ours\n")
    commit(place, "ours")
    copier.run_update(place, data={"framework": "agentchat"}, defaults=True, quiet=True, overwrite=True)
    return place


def test_another_framework_changes_nothing_of_the_teams(changed: Path) -> None:
    status = sh(changed, "git", "status", "--short").stdout.splitlines()
    assert status == [" M .copier-answers.yml", " M platform.toml", " M pyproject.toml"]
    assert 'framework = "agentchat"' in (changed / "platform.toml").read_text()
    assert "autogen-agentchat" in (changed / "pyproject.toml").read_text()


def test_check_lists_the_files_to_port_until_they_are(changed: Path) -> None:
    done = sh(changed, "uv", "run", "my-crew", "check", check=False, OPENAI_API_KEY="x")
    assert done.returncode == 78
    assert re.findall(r"(?:src|tests)/\S+\.py", done.stderr) == TO_PORT
    commit(changed, "AgentChat")
    copier.run_update(changed, data={"porting": True}, defaults=True, quiet=True, overwrite=True)
    status = sh(changed, "git", "status", "--short").stdout.splitlines()
    assert status == ["?? porting/"]
    for file in TO_PORT:
        (changed / file).unlink()
    sh(changed, "cp", "-r", "porting/src", "porting/tests", ".")
    sh(changed, "rm", "-r", "porting")
    sh(changed, "uv", "run", "my-crew", "check", OPENAI_API_KEY="x")
    sh(changed, "uv", "run", "pytest", "-q", "tests/unit", "tests/scaling/test_runs.py")


@pytest.mark.parametrize("framework", ["crewai", *FRAMEWORKS])
def test_a_guardrail_sends_work_back(projects: Projects, framework: str) -> None:
    script = str(Path(__file__).parent / "sent_back.py")
    said = sh(projects(framework), "uv", "run", "python", script).stdout
    done = json.loads(said[said.index('{"outcome"') :])
    assert done["outcome"]["status"] == "succeeded", done["outcome"]["error"]
    assert done["outcome"]["output"]["body"] == "Kind regards, Lumen Notes"
    sent_back = "Write the answer out: it still contains '[Your Name]'"
    assert any(sent_back in prompt.replace("\\", "") for prompt in done["told"])
