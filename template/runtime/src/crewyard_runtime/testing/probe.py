"""The probe: imports an application and runs it in one fresh, observed process, as a platform without our runner would.

`python -m crewyard_runtime.testing.probe NAME`, with a request as JSON on standard input; the report is JSON on file
descriptor 3. The scaling tests judge by it, so that they know nothing of the agents they look at.
"""

import contextlib
import os
import pkgutil
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticSerializationError, to_json

from crewyard_runtime.application import ENTRY_POINTS, Application, find_application
from crewyard_runtime.errors import error_chain
from crewyard_runtime.execution.messages import Outcome, RunRequest
from crewyard_runtime.execution.work import work
from crewyard_runtime.frameworks import load_framework
from crewyard_runtime.settings import RuntimeSettings
from crewyard_runtime.testing.audited import Audited
from crewyard_runtime.testing.failures import Finding, failure_of, story
from crewyard_runtime.testing.held import OF_A_LOOP, OF_A_PROCESS, changes, held_clients, held_texts, state
from crewyard_runtime.testing.observe import Births, FileWrites, ToolCalls, environment_reads, thread_use
from crewyard_runtime.testing.team import Team


class ProbeRequest(BaseModel):
    """What to run: the inputs in this order, with these settings. marks: texts that occur in the inputs alone."""

    inputs: list[Any]
    marks: list[str] = []
    settings: dict[str, Any]
    runtime: dict[str, Any]


class ProbeReport(BaseModel):
    """What was seen, by subject; each entry is [what, where].

    theirs: the modules that importing the team's code brought in. import_seconds: of each module, its own seconds.
    """

    made_at_import: list[tuple[str, str | None]] = []
    read_at_import: list[tuple[str, str | None]] = []
    started_at_import: list[tuple[str, str | None]] = []
    served_again: list[tuple[str, str | None]] = []
    data_kept: list[tuple[str, str | None]] = []
    kept_after_run: list[tuple[str, str | None]] = []
    read_in_runs: list[tuple[str, str | None]] = []
    written: list[tuple[str, str | None]] = []
    threads: list[tuple[str, str | None]] = []
    unguarded: list[tuple[str, str | None]] = []
    not_plain: list[tuple[str, str | None]] = []
    blocked: list[tuple[str, str | None]] = []
    bound: list[tuple[str, str | None]] = []
    executed: list[tuple[str, str | None]] = []
    stored: list[tuple[str, str | None]] = []
    events: list[str] = []
    outcomes: list[Outcome] = []
    theirs: list[str] = []
    import_seconds: dict[str, float] = {}
    printed: str = ""

    def findings(self, subject: str) -> list[Finding]:
        """The entries of a subject."""
        return [Finding(what, where) for what, where in getattr(self, subject)]


def probe(application: Application, request: ProbeRequest, environment: dict[str, str], timeout: float) -> ProbeReport:
    """Run the probe in a process of its own. Raises RuntimeError with what it printed if it ends without a report."""
    reading, writing = os.pipe()
    with tempfile.TemporaryDirectory(prefix="crewyard-probe-") as scratch:
        process = subprocess.Popen(
            [
                sys.executable,
                "-X",
                "importtime",
                "-m",
                "crewyard_runtime.testing.probe",
                application.name,
                str(writing),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=[writing],
            env={**environment, "HOME": scratch},
            cwd=scratch,
        )
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            received: list[bytes] = []
            reader = threading.Thread(target=lambda: received.append(pipe.read()), daemon=True)
            reader.start()
            try:
                printed, _ = process.communicate(request.model_dump_json().encode(), timeout=timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                printed, _ = process.communicate()
            reader.join()
    seconds, said = import_times(printed.decode(errors="replace"))
    if process.returncode != 0 or not received[0]:
        msg = f"The probe ended with code {process.returncode}:\n{said[-4000:]}"
        raise RuntimeError(msg)
    report = ProbeReport.model_validate_json(received[0])
    report.import_seconds, report.printed = seconds, said
    return report


def import_times(printed: str) -> tuple[dict[str, float], str]:
    """The own seconds of each imported module, from what `-X importtime` has printed, and what else was printed."""
    lines = printed.splitlines()
    rows = [line.split("|") for line in lines if line.startswith("import time:") and "[us]" not in line]
    seconds = {row[2].strip(): int(row[0].partition(":")[2]) / 1e6 for row in rows}
    return seconds, "\n".join(line for line in lines if not line.startswith("import time:"))


def main(name: str, descriptor: int) -> None:
    """Import, run, report. Nothing of the team's is imported before it is observed."""
    request = ProbeRequest.model_validate_json(sys.stdin.buffer.read())
    framework: Any = load_framework(RuntimeSettings(**request.runtime).framework)
    packages = {point.module.partition(".")[0] for point in entry_points(group=ENTRY_POINTS)}
    team = Team([Path(place) for package in packages for place in _locations(package)], packages)
    report = ProbeReport()
    audited = Audited(team)
    births, stores = Births(team, framework.PARTS), Births(team, framework.LOCAL_STORES)
    with thread_use(team, RuntimeSettings(**request.runtime).limits.tool_concurrency) as threads:
        _observe_import(name, packages, births, team, report)
        _observe_runs(find_application(name), framework, births, team, request, audited, report)
    report.threads = _pairs(threads)
    report.stored = [(f"{_a(store.kind)} keeps state on the container's disk", store.where) for store in stores.born]
    os.write(descriptor, report.model_dump_json().encode())
    os._exit(0)


def _locations(package: str) -> list[str]:
    spec = find_spec(package)
    return list((spec.submodule_search_locations if spec else None) or [])


def _observe_import(name: str, packages: set[str], births: Births, team: Team, report: ProbeReport) -> None:
    births.phase = "import"
    threads, modules = set(threading.enumerate()), set(sys.modules)
    with environment_reads(team) as reads:
        for package in packages:
            for module in pkgutil.walk_packages(_imported(package, team, reads).__path__, f"{package}."):
                if not module.name.endswith("__main__"):
                    _imported(module.name, team, reads)
        find_application(name).load_build()
    report.read_at_import = _pairs(reads)
    report.made_at_import = [(f"{_a(birth.kind)} is made at import", birth.where) for birth in births.living("import")]
    report.started_at_import = [
        (f"the thread {thread.name} is started at import", None) for thread in set(threading.enumerate()) - threads
    ]
    report.theirs = [module for module in sys.modules if module not in modules]
    report.bound = _pairs(held_clients(team.packages, "since the import", OF_A_LOOP, OF_A_PROCESS))


def _imported(module: str, team: Team, reads: list[Finding]) -> ModuleType:
    """Import a module, or end the probe with where the import broke, what the team's line asked for, and what to do."""
    try:
        return import_module(module)
    except Exception as error:
        links = error_chain(error)
        # Of an error that came of others, the one that the team's own line met.
        met = next((link for link in reversed(links) if link.where and team.owns(link.where)), links[-1])
        failure = "F04" if reads else failure_of(links) or "F01"
        seen = [f"{module} cannot be imported: {met.type}: {met.message} ({met.where})", *map(str, reads)]
        sys.exit(story(failure, "seen:\n" + "".join(f"  - {each}\n" for each in seen)))


def _observe_runs(
    application: Application,
    framework: Any,
    births: Births,
    team: Team,
    request: ProbeRequest,
    audited: Audited,
    report: ProbeReport,
) -> None:
    not_plain: list[Finding] = []
    served: dict[int, set[str]] = {}
    framework.watch_handovers(
        lambda label, value: not_plain.extend(_not_plain(label, value)),
        lambda made: served.setdefault(births.number(made), set()).add(births.phase),
    )
    home = Path(os.environ["HOME"]) / "home"
    home.mkdir()
    os.environ.update(HOME=str(home), TMPDIR=str(home))
    tempfile.tempdir = None
    writes = FileWrites(team, [home])
    tools = ToolCalls()
    with environment_reads(team) as reads, tools.watching():
        for number, data in enumerate(request.inputs):
            births.phase = f"run {number}"
            report.outcomes.append(_one_run(application, data, request, tools, writes, audited))
            if number == len(request.inputs) // 2:  # by then what is made lazily, once, has been made
                halfway = state(team.packages)
    report.served_again = [
        (f"one {births.born[number].kind} serves {len(phases)} runs", births.born[number].where)
        for number, phases in served.items()
        if number >= 0 and len(phases) > 1
    ]
    if len(request.inputs) > 1:  # a framework may hold on to its last run until the next
        report.kept_after_run = [
            (f"{_a(birth.kind)} of the first run is there after the last", birth.where)
            for birth in births.living("run 0")
        ]
    kept = held_texts(team.packages, request.marks)
    report.data_kept = _pairs(kept or changes(halfway, state(team.packages)))
    report.read_in_runs, report.written = _pairs(reads), _pairs(writes.found)
    report.not_plain, report.unguarded, report.events = _pairs(not_plain), _pairs(tools.unguarded()), tools.events
    report.blocked, report.executed = _pairs(audited.blocked), _pairs(audited.executed)
    if not report.bound:  # what is there since the import is told as that
        report.bound = _pairs(held_clients(team.packages, "that a run has made", OF_A_LOOP))


def _one_run(
    application: Application, data: Any, request: ProbeRequest, tools: ToolCalls, *recorders: FileWrites | Audited
) -> Outcome:
    deadline = RuntimeSettings(**request.runtime).limits.deadline_seconds
    run = RunRequest(
        run_id=uuid.uuid4().hex,
        input=data,
        settings=request.settings,
        runtime=request.runtime,
        workspace=tempfile.mkdtemp(),
        deadline=time.time() + deadline,
    )
    for recorder in recorders:
        recorder.active = True
    try:
        return work(application, run, tools.report)
    finally:
        for recorder in recorders:
            recorder.active = False


def _not_plain(label: str, value: Any) -> list[Finding]:
    try:
        to_json(value)
    except (PydanticSerializationError, ValueError, TypeError) as error:
        return [Finding(f"{label}: {error}")]
    return []


def _a(kind: str) -> str:
    return f"{'an' if kind[0] in 'AEIOU' else 'a'} {kind}"


def _pairs(findings: list[Finding]) -> list[tuple[str, str | None]]:
    return [(finding.what, finding.where) for finding in findings]


if __name__ == "__main__":
    with contextlib.redirect_stdout(sys.stderr):
        main(sys.argv[1], int(sys.argv[2]))
