"""The demo: examples go through a whole service, and one of its workers is killed in the middle of a run."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx

from crewyard_runtime.application import Application
from crewyard_runtime.batch import Line, parse
from crewyard_runtime.children import Child
from crewyard_runtime.stack import Stack
from crewyard_runtime.store import keys, runs
from crewyard_runtime.terminal import command_name, console, printable
from crewyard_runtime.testing.inputs import example_inputs
from crewyard_runtime.testing.model_server import ModelServer

if TYPE_CHECKING:
    from rich.table import Table

EXAMPLES = 3
WAIT_SECONDS = 120  # for the first run's first model call
RUN_SECONDS = 600
SHORT_ID = 8
SHORT_TEXT = 80
SLOW_SECONDS = 600  # the worker is killed while it waits for this answer, so nothing takes as long


def examples(application: Application) -> list[Line]:
    """The first examples of the application; inputs made from its input model if it has none."""
    return [parse(text, number) for number, text in enumerate(example_inputs(application, EXAMPLES), 1)]


@dataclass
class _Run:
    """One line: the run that was made of it as the gateway shows it, or the reason why there is none."""

    line: Line
    shown: dict[str, Any] = field(default_factory=dict)
    refused: str | None = None
    events: list[dict[str, Any]] = field(default_factory=list)

    @property
    def name(self) -> str:
        return str(self.shown["id"])[:SHORT_ID] if self.shown else f"line {self.line.number}"

    @property
    def result(self) -> str:
        if self.refused:
            return self.refused
        error = self.shown["error"]
        return str(error["reason"] if error else self.shown["status"])


@dataclass(frozen=True)
class _Killed:
    run: _Run
    worker: Child
    at: datetime


class Demo:
    """One demonstration with a service that is ready. say: takes a sentence about what is going on."""

    def __init__(self, stack: Stack, server: ModelServer, application: Application, say: Callable[[str], None]) -> None:
        with stack.database.transaction() as tx:
            key = keys.create(tx, "demo")
        # Without the environment: a proxy would not find this machine.
        self._http = httpx.Client(
            base_url=stack.url, headers={"Authorization": f"Bearer {key}"}, trust_env=False, timeout=30
        )
        self._stack = stack
        self._server = server
        self._application = application
        self._say = say
        self._runs: list[_Run] = []
        self._killed: _Killed | None = None

    def run(self, lines: list[Line]) -> bool:
        """Have a run done for each line; whether all succeeded. Raises NotReady if the service dies meanwhile."""
        waiting = list(lines)
        self._server.fail("slow", seconds=SLOW_SECONDS)
        while waiting and not any(run.shown for run in self._runs):
            self._post(waiting.pop(0))
        for run in self._runs:
            if run.shown:
                self._kill_its_worker(run)
        self._server.clear("faults")
        for line in waiting:
            self._post(line)
        for run in self._runs:
            if run.shown:
                self._wait_for(run)
                self._say(f"run {run.name}: {run.result}")
        return all(run.shown and run.shown["status"] == "succeeded" for run in self._runs)

    def show(self) -> None:
        """Print the table, what was killed, and how to go on."""
        from rich.table import Table

        table = Table("run", "attempt", "agent", "step", "tool", "tokens", "seconds", "result")
        for run in self._runs:
            _add_rows(table, run)
        out = console()
        out.print(table)
        source = f"src/{self._application.examples}" if self._application.examples else "FILE"
        for line in (
            self._told(),
            "The model server stood in for the provider. With a real key:",
            "  export OPENAI_API_KEY=sk-...   (or a line in .env)",
            f"  uv run {command_name()} run {source}",
            "The whole service in your terminal, with and without a key:",
            f"  uv run {command_name()} dev",
        ):
            out.print(line, soft_wrap=True)

    def _post(self, line: Line) -> None:
        run = _Run(line, refused=line.problem)
        self._runs.append(run)
        if line.problem is None:
            response = self._http.post(f"/runs/{self._application.name}", json=line.data)
            if response.status_code == httpx.codes.ACCEPTED:
                run.shown = response.json()
            else:
                run.refused = str(response.json()["detail"])

    def _kill_its_worker(self, run: _Run) -> None:
        """Kill the worker of the run while it waits for the model; let a run be that asks no model."""

        def is_thinking() -> bool:
            return any(call["status"] == 0 for call in self._server.requests)

        self._stack.children.wait_until(
            lambda: is_thinking() or self._has_ended(run), WAIT_SECONDS, "the first model call of the first run"
        )
        if is_thinking():
            self._look(run)
            worker = self._worker(run.shown["attempts"][-1])
            self._say(f"run {run.name} waits for the model: kill -9 {worker.process.pid}, which is its {worker.name}")
            worker.kill()
            self._killed = _Killed(run, worker, datetime.now(UTC))

    def _wait_for(self, run: _Run) -> None:
        self._stack.children.wait_until(lambda: self._has_ended(run), RUN_SECONDS, f"the end of run {run.name}")
        with self._http.stream("GET", f"/runs/{run.shown['id']}/events") as response:
            told = [line.removeprefix("data:") for line in response.iter_lines() if line.startswith("data:")]
        run.events = [json.loads(data) for data in told]

    def _has_ended(self, run: _Run) -> bool:
        self._look(run)
        return run.shown["status"] in runs.ENDED

    def _look(self, run: _Run) -> None:
        run.shown = self._http.get(f"/runs/{run.shown['id']}").raise_for_status().json()

    def _worker(self, attempt: dict[str, Any]) -> Child:
        pid = int(attempt["worker"].split("-")[-2])
        return next(worker for worker in self._stack.workers if worker.process.pid == pid)

    def _told(self) -> str:
        """What became of the run whose worker was killed."""
        if self._killed is None:
            return "No worker was killed: no run waited for the model, so there was no middle of a run."
        run, worker = self._killed.run, self._killed.worker
        said = f"The process of {worker.name} was killed with SIGKILL in the middle of run {run.name}"
        last = run.shown["attempts"][-1]
        seconds = (datetime.fromisoformat(last["started_at"]) - self._killed.at).total_seconds()
        if last["number"] == 1:
            return f"{said}, and nobody took it over: {run.result}."
        end = "finished it" if run.shown["status"] == "succeeded" else f"it {run.shown['status']}"
        return f"{said}; {seconds:.1f} seconds later {self._worker(last).name} took it over, and {end}."


def _add_rows(table: "Table", run: _Run) -> None:
    rows = [row for event in run.events if (row := _event_row(event))]
    for number, *row in rows:
        table.add_row(run.name, str(number), *(printable(cell) for cell in row))
    if run.shown:
        tokens = run.shown["prompt_tokens"] + run.shown["completion_tokens"]
        row = [str(run.shown["attempt"]), "", "run", "", str(tokens), _seconds(run.shown), printable(run.result)]
    else:
        row = ["", "", "", "", "", "", printable(run.result)]
    table.add_row(run.name, *row)
    table.add_section()


def _event_row(event: dict[str, Any]) -> list[str] | None:
    """Attempt, agent, step, tool, tokens, seconds and result; None for an event that is not shown."""
    data, attempt = event["data"], str(event["attempt"])
    agent = str(data.get("agent") or "").strip()
    seconds = f"{data['seconds']:.2f}" if data.get("seconds") is not None else ""
    error = str(data.get("error") or "ok")[:SHORT_TEXT]
    match event["kind"]:
        case "model.called":
            return [attempt, agent, str(data.get("step")), "", str(data.get("tokens")), seconds, "ok"]
        case "model.failed":
            return [attempt, agent, str(data.get("step")), "", "", seconds, error]
        case "tool.called":
            return [attempt, agent, "tool call", str(data.get("tool")), "", seconds, error]
        case "delegated":
            return [attempt, agent, f"delegated to {data.get('to')}", "", "", "", "ok"]
        case "attempt.lost":
            return [attempt, "", "attempt", "", "", "", f"lost: {data.get('reason')}"]
    return None


def _seconds(run: dict[str, Any]) -> str:
    if not run["started_at"]:
        return ""
    spent = datetime.fromisoformat(run["finished_at"]) - datetime.fromisoformat(run["started_at"])
    return f"{spent.total_seconds():.2f}"
