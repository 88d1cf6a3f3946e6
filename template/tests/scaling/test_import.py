"""Importing the project makes nothing, reads nothing and starts nothing; and it is quick where it must be."""

import os
import subprocess
import sys

import pytest
from crewyard_runtime import Application
from crewyard_runtime.testing.failures import Finding, guard
from crewyard_runtime.testing.inputs import marked_inputs
from crewyard_runtime.testing.plugin import Probing
from crewyard_runtime.testing.probe import ProbeReport

FRAMEWORKS = ("crewai", "autogen", "autogen_agentchat", "agent_framework", "litellm", "langchain", "openai", "chromadb")
LIGHT_TIMES = 1.5  # what a gateway loads may cost this many times what the runtime costs that it loads anyway
BUILD_TIMES = 0.5  # what only runs load may add this much to the framework's own import


@pytest.fixture(scope="module")
def report(application: Application, probing: Probing) -> ProbeReport:
    """One run in an observed process."""
    return probing([data for _, data in marked_inputs(application, 1)])


@pytest.mark.guards("F01")
def test_import_makes_no_agent_crew_client_or_tool(report: ProbeReport) -> None:
    guard("F01", report.findings("made_at_import"))


@pytest.mark.guards("F04")
def test_import_reads_no_variable(report: ProbeReport) -> None:
    guard("F04", report.findings("read_at_import"))


@pytest.mark.guards("F24")
def test_import_starts_no_thread(report: ProbeReport) -> None:
    guard("F24", report.findings("started_at_import"))


@pytest.mark.guards("F25")
def test_what_a_gateway_loads_imports_no_framework(application: Application) -> None:
    loaded = _imports(application.input.__module__, application.settings.__module__, *_declared())
    guard(
        "F25",
        [Finding(f"{name} is imported with the application's declaration") for name in FRAMEWORKS if name in loaded],
    )


@pytest.mark.guards("F25")
def test_what_a_gateway_loads_is_light(application: Application) -> None:
    loaded = _imports("crewyard_runtime", application.input.__module__, application.settings.__module__, *_declared())
    own, added = _costs(loaded, "crewyard_runtime", application.package)
    heavy = [f"importing {name} takes {seconds:.2f} s" for name, seconds in _dearest(loaded, "crewyard_runtime")]
    guard("F25", heavy if added > own * (LIGHT_TIMES - 1) and added > 0.1 else [])


@pytest.mark.guards("F25")
def test_what_runs_load_adds_little_to_the_framework(application: Application) -> None:
    framework = "crewyard_runtime.frameworks.crewai"
    loaded = _imports(framework, application.build_module)
    own, added = _costs(loaded, framework, application.package)
    heavy = [f"importing {name} takes {seconds:.2f} s" for name, seconds in _dearest(loaded, framework)]
    guard("F25", heavy if added > own * BUILD_TIMES else [])


def _declared() -> list[str]:
    from importlib.metadata import entry_points

    return [point.module for point in entry_points(group="crewyard.applications")]


def _imports(*modules: str) -> dict[str, float]:
    """Every module that importing these brings in, in a fresh process, with its own seconds, in order of completion."""
    code = f"import {', '.join(modules)}"
    process = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", code], capture_output=True, text=True, check=False, env=os.environ
    )
    assert process.returncode == 0, process.stderr[-2000:]
    rows = [
        line.split("|")
        for line in process.stderr.splitlines()
        if line.startswith("import time:") and "[us]" not in line
    ]
    return {name.strip(): int(own.partition(":")[2]) / 1e6 for own, _, name in rows}


def _costs(loaded: dict[str, float], base: str, package: str) -> tuple[float, float]:
    names = list(loaded)
    border = names.index(base) + 1
    return sum(loaded[name] for name in names[:border]), sum(loaded[name] for name in names[border:])


def _dearest(loaded: dict[str, float], base: str) -> list[tuple[str, float]]:
    names = list(loaded)
    groups: dict[str, float] = {}
    for name in names[names.index(base) + 1 :]:
        groups[name.partition(".")[0]] = groups.get(name.partition(".")[0], 0) + loaded[name]
    return sorted(groups.items(), key=lambda item: -item[1])[:3]
