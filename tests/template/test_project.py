"""A rendered project locks, lints, type-checks, passes its own tests and runs: offline, with no key."""

import json
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import copier
import pytest
from conftest import REPOSITORY, sh

LINTERS = [("ruff", "check"), ("ruff", "format", "--check"), ("mypy",), ("lint-imports",)]
# What the sample lacks, and what a memory elsewhere cannot be tried with.
NOT_THE_SAMPLE = {"no agent may delegate"}
ALL_FORMS = ("-m", "soak or not soak")
OTHER_PYTHONS = ("3.12", "3.13")


@pytest.mark.parametrize("linter", LINTERS, ids=" ".join)
def test_the_linters_find_nothing(project: Path, linter: tuple[str, ...]) -> None:
    sh(project, "uv", "run", *linter)


def test_its_own_tests_pass(project: Path) -> None:
    _tests_pass(project)


def test_its_faults_in_all_their_forms_lose_nothing(project: Path) -> None:
    modules = [f"tests/scaling/test_{name}.py" for name in ("faults", "gateway", "memory")]
    _tests_pass(project, *modules, "-m", "soak", "-k", "not random")  # which takes minutes


def _tests_pass(place: Path, *tests: str, **environment: Any) -> None:
    said = sh(place, "uv", "run", "pytest", "-q", *tests, **environment).stdout
    assert re.search(r"\d+ passed", said), said
    skipped = re.findall(r"^SKIPPED .*?: (.*)", said, re.MULTILINE)
    assert not set(skipped) - NOT_THE_SAMPLE, said


def test_the_demo_runs_with_no_key(project: Path) -> None:
    done = sh(project, "uv", "run", "my-crew", "demo")
    assert "search_knowledge_base" in done.stdout
    assert done.stdout.count("succeeded") == 3
    assert "OPENAI_API_KEY" in done.stdout


def test_crewai_finds_nothing_to_mend(project: Path) -> None:
    done = sh(project, "uv", "run", "crewai", "deploy", "validate", OPENAI_API_KEY="x")
    assert "ERROR" not in done.stdout
    assert "passed" in done.stdout


def test_the_runtime_is_the_same_byte_for_byte(project: Path) -> None:
    ours = REPOSITORY / "template/runtime"
    files = [path.relative_to(ours) for path in (ours / "src").rglob("*.py")]
    assert len(files) > 30
    assert not [str(file) for file in files if (project / "runtime" / file).read_bytes() != (ours / file).read_bytes()]


def test_a_dependency_that_the_policy_leaves_out_is_named(project: Path, tmp_path: Path) -> None:
    place = tmp_path / "with-pillow"
    shutil.copytree(project, place, ignore=shutil.ignore_patterns(".venv"))
    text = (place / "pyproject.toml").read_text()
    (place / "pyproject.toml").write_text(text.replace('"crewyard-runtime",', '"crewyard-runtime",\n    "pillow",', 1))
    done = sh(place, "uv", "run", "my-crew", "check", check=False, OPENAI_API_KEY="x")
    assert done.returncode == 78
    assert "pillow" in done.stderr
    assert "delete the line" in done.stderr
    (place / "pyproject.toml").write_text(re.sub(r'    "pillow", # .*\n', "", (place / "pyproject.toml").read_text()))
    sh(place, "uv", "run", "my-crew", "check", OPENAI_API_KEY="x")


@pytest.mark.parametrize(
    "answers", [{"broker": "rabbitmq", "secrets": "gcp"}, {"broker": "sqs", "auth": "oidc", "secrets": "aws"}], ids=str
)
def test_the_faults_lose_no_run_with_other_servers(template: Path, tmp_path: Path, answers: dict[str, str]) -> None:
    place = tmp_path / "other"
    copier.run_copy(str(template), place, data=answers, defaults=True, quiet=True)
    _tests_pass(place, "tests/scaling/test_faults.py", "tests/scaling/test_gateway.py", *ALL_FORMS)


@pytest.mark.parametrize("memory", ["qdrant", "mem0-cloud", "volume"])
def test_another_memory_keeps_users_apart(template: Path, tmp_path: Path, memory: str) -> None:
    place = tmp_path / "other"
    copier.run_copy(str(template), place, data={"memory": memory}, defaults=True, quiet=True)
    _tests_pass(place, "tests/scaling/test_memory.py", "-k", "agents or wild or nobodys or random")
    if memory == "volume":  # its library is left out everywhere else
        tests = (REPOSITORY / "tests/runtime/test_memory_volume.py", "-c", "pyproject.toml", "--rootdir", ".")
        _tests_pass(place, "--noconftest", *map(str, tests), PYTHONPATH=str(REPOSITORY / "tests"))


def test_a_project_may_remember_nothing(template: Path, tmp_path: Path) -> None:
    place = tmp_path / "other"
    copier.run_copy(str(template), place, data={"memory": "none"}, defaults=True, quiet=True)
    done = sh(place, "uv", "run", "my-crew", "demo")
    assert done.stdout.count("succeeded") == 3
    assert not list((place / ".venv").glob("lib/*/site-packages/mem0"))


@pytest.mark.parametrize("answers", [{"model_strong": "anthropic/claude-sonnet-4-5"}], ids=str)
def test_other_answers_lock_and_start(template: Path, tmp_path: Path, answers: dict[str, str]) -> None:
    place = tmp_path / "other"
    copier.run_copy(str(template), place, data=answers, defaults=True, quiet=True)
    done = sh(place, "uv", "run", "my-crew", "check", check=False)
    assert done.returncode == 78
    assert {"OPENAI_API_KEY", "ANTHROPIC_API_KEY"} <= set(re.findall(r"[A-Z_]+_API_KEY", done.stderr))


@pytest.mark.parametrize("version", OTHER_PYTHONS)
def test_the_demo_runs_on_other_pythons(template: Path, tmp_path: Path, version: str) -> None:
    python = _find_python(version)
    if python is None:
        pytest.skip(f"Python {version} is not on this machine")
    place = tmp_path / "other"
    copier.run_copy(str(template), place, data={"python_version": version}, defaults=True, quiet=True)
    done = sh(place, "uv", "run", "my-crew", "demo", UV_PYTHON=python)
    assert done.stdout.count("succeeded") == 3


def _find_python(version: str) -> str | None:
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    kept = sorted(pyenv.glob(f"versions/{version}.*/bin/python"))
    return str(kept[-1]) if kept else shutil.which(f"python{version}")


def test_a_python_that_is_too_new_is_refused_with_the_reason(template: Path, tmp_path: Path) -> None:
    place = tmp_path / "project"
    copier.run_copy(str(template), place, defaults=True, quiet=True)
    done = sh(place, "uv", "run", "my-crew", "check", check=False, UV_PYTHON="3.14")
    assert done.returncode != 0
    assert "3.14" in done.stderr


def test_crewai_run_answers_a_ticket(project: Path, model_server_url: str) -> None:
    """As CrewAI's platform does: in one process, with everything from the environment."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = sh(project, "uv", "run", "crewai", "run", PATH=path, OPENAI_API_KEY="x", OPENAI_BASE_URL=model_server_url)
    reply = json.loads(done.stdout[done.stdout.index("{\n") :])
    assert reply["handled_by"] in ("agents", "person")
