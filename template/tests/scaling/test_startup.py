"""A process with a missing variable does not start, and names every one of them before it loads a framework."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from crewyard_runtime import Application
from crewyard_runtime.testing.failures import guard

NOT_CONFIGURED = 78


def _start(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the project's command with nothing set but the models; `-X importtime` tells what it imports."""
    (place / "platform.toml").write_text((Path.cwd() / "platform.toml").read_text("utf-8"), "utf-8")
    environment = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    environment |= {"MODEL_FAST": "openai/gpt-4o-mini", "MODEL_STRONG": "openai/gpt-4o"}  # so that a key is needed
    environment["SECRETS"] = "environment"  # and none is found
    return subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "crewyard_runtime", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=place,
        env=environment,
        stdin=subprocess.DEVNULL,
        timeout=60,
    )


def _required(application: Application) -> list[str]:
    prefix = str(application.settings.model_config.get("env_prefix", ""))
    fields = application.settings.model_fields.items()
    return [str(field.validation_alias or f"{prefix}{name}").upper() for name, field in fields if field.is_required()]


@pytest.mark.guards("F03")
@pytest.mark.parametrize("command", [("check",), ("run", "{}")])
def test_start_names_every_missing_variable(application: Application, command: tuple[str, ...], tmp_path: Path) -> None:
    process = _start(tmp_path, *command)
    expected = [*_required(application), "OPENAI_API_KEY"]
    seen = [f"`{' '.join(command)}` does not name {name}" for name in expected if name not in process.stderr]
    if process.returncode != NOT_CONFIGURED:
        seen.append(f"`{' '.join(command)}` exits with {process.returncode} instead of {NOT_CONFIGURED}")
    guard("F03", seen)


@pytest.mark.guards("F25")
def test_start_is_refused_before_a_framework_is_imported(tmp_path: Path) -> None:
    process = _start(tmp_path, "run", "{}")
    loaded = {
        line.rpartition("|")[2].strip() for line in process.stderr.splitlines() if line.startswith("import time:")
    }
    assert "crewyard_runtime" in loaded
    guard("F25", [f"{name} is imported by a start that is refused" for name in ("crewai", "openai") if name in loaded])
