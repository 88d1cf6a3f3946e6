"""What a run does in the process it is in: settings, input, build, kick-off, output; a failure becomes an outcome."""

import json
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from crewyard_runtime.application import Application
from crewyard_runtime.context import RunContext
from crewyard_runtime.errors import BuildRefused, InvalidOutput, RunStopped, error_chain, problems_of, text_of
from crewyard_runtime.execution.messages import Failure, Outcome, RunRequest
from crewyard_runtime.frameworks import Framework, load_framework
from crewyard_runtime.memory.opening import open_memory
from crewyard_runtime.sandbox import open_sandbox
from crewyard_runtime.settings import RuntimeSettings

Report = Callable[[str, dict[str, Any]], None]


def work(application: Application, request: RunRequest, report: Report) -> Outcome:
    """Do the run that `request` describes and tell how it ended; raises nothing."""
    started = time.monotonic()
    outcome = Outcome(run_id=request.run_id, status="failed")
    stage = "build"
    try:
        settings = RuntimeSettings(**request.runtime)
        framework = load_framework(settings.framework)
        run = make_run(application, request, settings, framework, report)
        with run.activate():
            try:
                report("build.started", {"application": application.name})
                built = framework.build(application, run)
                outcome.build_seconds = round(time.monotonic() - started, 3)
                report("build.finished", {"seconds": outcome.build_seconds})
                stage, started = "run", time.monotonic()
                report("run.started", {})
                result = framework.plain_result(framework.kick_off(built, run))
                outcome.output = valid_output(application, result, framework.TYPED, run.ended)
                outcome.status = "succeeded"
            finally:
                outcome.usage = run.usage.total
                run.close()
    except Exception as error:
        outcome.error = Failure(reason=reason_of(error), chain=error_chain(error))
        report(f"{stage}.failed", {"reason": outcome.error.reason})
    if stage == "run":
        outcome.run_seconds = round(time.monotonic() - started, 3)
    return outcome


def make_run(
    application: Application, request: RunRequest, settings: RuntimeSettings, framework: Framework, report: Report
) -> RunContext[Any, Any]:
    """The context of a run, from its request. Raises ValidationError for an input that the application refuses."""
    return RunContext(
        id=request.run_id,
        attempt=request.attempt,
        user_id=request.user_id,
        input=application.input.model_validate(request.input),
        settings=application.settings(**request.settings),
        limits=settings.limits,
        deadline=datetime.fromtimestamp(request.deadline, UTC),
        workspace=Path(request.workspace),
        make_llm=lambda run, role: framework.make_llm(run, settings, role),
        make_sandbox=lambda run: open_sandbox(settings, run.limits, run.workspace, run.deadline),
        make_code_executor=None if settings.code_execution == "none" else framework.make_code_executor,
        report=report,
        memory=open_memory(settings, request.user_id, request.memory_token, report, application.load_may_remember()),
        with_tools=request.with_tools,
    )


def valid_output(application: Application, result: Any, typed: str, ended: str = "") -> Any:
    """The result as JSON data that satisfies the output model. Raises InvalidOutput.

    typed: how an agent of the framework is told to answer in a model. ended: why the agents had said enough.
    """
    model = application.output
    data = result.model_dump() if isinstance(result, BaseModel) else result
    try:
        return _validated(model, data).model_dump(mode="json")
    except ValidationError as error:
        problems = problems_of(error, "result")
        name = model.__name__
        told = f" The agents ended with: {ended}" if ended else ""
        msg = f"The result is no {name} ({problems}). Let the last agent answer in it: {typed.format(name)}.{told}"
        raise InvalidOutput(msg) from error


def _validated(model: type[BaseModel], data: Any) -> BaseModel:
    """Of a text, the text as it is where the model takes one, else the JSON that it holds. Raises ValidationError."""
    if isinstance(data, str):
        try:
            return model.model_validate(data)
        except ValidationError:
            with suppress(ValueError):
                data = json.loads(data)
    return model.model_validate(data)


def reason_of(error: BaseException) -> str:
    """The one sentence that tells a reader why: the error's own text, with its type unless the runtime wrote it."""
    text = text_of(error) or "no details"
    return (
        text
        if isinstance(error, BuildRefused | InvalidOutput | RunStopped)
        else f"{type(error).__name__}: {text}"[:2_000]
    )
