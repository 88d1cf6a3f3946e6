"""The demo: the application's examples against a model server, told as one table."""

import sys
import threading
from pathlib import Path
from typing import Any

from crewyard_runtime.application import Application
from crewyard_runtime.batch import Line, parse
from crewyard_runtime.testing.inputs import example_inputs

EXAMPLES = 3


class Demo:
    """Collects what happens in the runs of a demo; events come from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._events: dict[str, list[tuple[str, dict[str, Any]]]] = {}
        self._results: list[dict[str, Any]] = []
        self._examples = "FILE"

    @staticmethod
    def settings(url: str) -> dict[str, Any]:
        """The settings that send a project's runs to the model server at `url`."""
        return {
            "openai_base_url": url,
            "openai_api_key": "offline",
            "model_fast": "openai/gpt-4o-mini",
            "model_strong": "openai/gpt-4o",
        }

    def lines(self, application: Application) -> list[Line]:
        """The first examples of the application; inputs made from its input model if it has none."""
        self._examples = f"src/{application.examples}" if application.examples else "FILE"
        return [parse(text, number) for number, text in enumerate(example_inputs(application, EXAMPLES), 1)]

    def add_event(self, run_id: str, event: str, data: dict[str, Any]) -> None:
        """Note one event of a run."""
        with self._lock:
            self._events.setdefault(run_id, []).append((event, data))

    def add_result(self, result: dict[str, Any]) -> None:
        """Note how a run ended."""
        self._results.append(result)

    def show(self) -> None:
        """Print the table, and how to go on with a real key."""
        from rich.console import Console
        from rich.table import Table

        table = Table("run", "agent", "step", "tool", "tokens", "seconds", "result")
        for result in sorted(self._results, key=lambda each: each["line"]):
            for row in self._rows(result):
                table.add_row(*row)
            table.add_section()
        console = Console(markup=False, highlight=False)
        console.width = max(console.width, 120)
        console.print(table)
        console.print("The model server stood in for the provider. With a real key:")
        console.print("  export OPENAI_API_KEY=sk-...   (or a line in .env)")
        console.print(f"  uv run {Path(sys.argv[0]).name} run {self._examples}")

    def _rows(self, result: dict[str, Any]) -> list[list[str]]:
        run = (result["run_id"] or f"line {result['line']}")[:8]
        rows = [row for event in self._events.get(result["run_id"], []) if (row := _event_row(run, *event))]
        if result["run_id"] is None:
            return [[run, "", "", "", "", "", result["error"]["reason"]]]
        tokens = result["usage"]["prompt_tokens"] + result["usage"]["completion_tokens"]
        end = result["error"]["reason"] if result["error"] else result["status"]
        return [*rows, [run, "", "run", "", str(tokens), f"{result['seconds']:.2f}", end]]


def _event_row(run: str, event: str, data: dict[str, Any]) -> list[str] | None:
    agent = str(data.get("agent") or "").strip()
    seconds = f"{data['seconds']:.2f}" if data.get("seconds") is not None else ""
    if event == "model.called":
        return [run, agent, str(data["step"]), "", str(data["tokens"]), seconds, "ok"]
    if event == "model.failed":
        return [run, agent, str(data["step"]), "", "", seconds, str(data["error"])[:80]]
    if event == "tool.called":
        return [run, agent, "tool call", str(data["tool"]), "", seconds, str(data.get("error") or "ok")[:80]]
    if event == "delegated":
        return [run, agent, f"delegated to {data['to']}", "", "", "", "ok"]
    return None
