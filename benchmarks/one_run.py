"""Times runs of a project's application: forked, as a worker makes them, and in one process. By the project's Python.

Prints the seconds of both as one JSON object, the last line on standard output.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from crewyard_runtime import Application
from crewyard_runtime.application import find_application
from crewyard_runtime.execution import Outcome, Runner, RunRequest
from crewyard_runtime.execution.work import work
from crewyard_runtime.settings import RuntimeSettings, plain
from crewyard_runtime.testing.inputs import example_inputs
from crewyard_runtime.testing.model_server import ModelServer


class Sides:
    """The same run in two ways."""

    def __init__(self, application: Application, settings: RuntimeSettings) -> None:
        self._application, self._settings = application, settings
        self._input = json.loads(example_inputs(application, 1)[0])
        self._runner = Runner(settings, [application])
        self._runner.start()

    def _request(self) -> RunRequest:
        return RunRequest(
            run_id="one", input=self._input, settings=plain(self._application.settings.load()), runtime={}
        )

    def forked(self) -> Outcome:
        return self._runner.run(self._application, self._request())

    def here(self) -> Outcome:
        with tempfile.TemporaryDirectory(dir=self._settings.writable_dir) as workspace:
            deadline = time.time() + self._settings.limits.deadline_seconds
            placed = {"workspace": workspace, "deadline": deadline, "runtime": plain(self._settings)}
            return work(self._application, self._request().model_copy(update=placed), lambda event, data: None)


def seconds_of(side: Callable[[], Outcome]) -> tuple[float, int]:
    """How long one run took, and its model calls. Raises RuntimeError for a run that failed: it proves nothing."""
    start = time.perf_counter()
    outcome = side()
    seconds = time.perf_counter() - start
    if outcome.status != "succeeded":
        msg = f"The run {outcome.status}: {outcome.error}"
        raise RuntimeError(msg)
    return seconds, outcome.usage.model_calls


def main() -> None:
    """Measure in turns, after one turn that is not counted."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--model-seconds", type=float, default=2)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place, ModelServer() as server:
        settings = RuntimeSettings.load(
            openai_base_url=server.url,
            openai_api_key="offline",
            model_fast="openai/gpt-4o-mini",
            model_strong="openai/gpt-4o",
            writable_dir=Path(place),
        )
        sides = Sides(find_application(), settings)
        calls = {seconds_of(side)[1] for side in (sides.forked, sides.here)}
        server.fail("slow", times=None, seconds=arguments.model_seconds)
        seconds: dict[str, list[float]] = {"forked": [], "here": []}
        for _ in range(arguments.turns):
            for name, taken in seconds.items():
                spent, made = seconds_of(getattr(sides, name))
                taken.append(spent)
                calls.add(made)
    if len(calls) != 1:
        msg = f"The runs made different numbers of model calls ({sorted(calls)}), so their times say nothing."
        raise RuntimeError(msg)
    print(json.dumps({**seconds, "model_calls": calls.pop()}))


if __name__ == "__main__":
    main()
