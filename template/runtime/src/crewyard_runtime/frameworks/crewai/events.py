"""The listeners that count and report what a run does, from CrewAI's own events."""

from typing import Any

from crewai.events import (
    LLMCallCompletedEvent,
    LLMCallFailedEvent,
    LLMCallStartedEvent,
    TaskCompletedEvent,
    ToolUsageErrorEvent,
    ToolUsageFinishedEvent,
    crewai_event_bus,
)

from crewyard_runtime.context import RunContext, active_run


def listen() -> None:
    """Register the listeners; each finds its run in its context, and does nothing outside of one."""
    crewai_event_bus.on(LLMCallStartedEvent)(_note_start)
    crewai_event_bus.on(LLMCallCompletedEvent)(_count_model_call)
    crewai_event_bus.on(LLMCallFailedEvent)(_report_failed_call)
    crewai_event_bus.on(ToolUsageFinishedEvent)(_report_tool_call)
    crewai_event_bus.on(ToolUsageErrorEvent)(_report_tool_error)
    crewai_event_bus.on(TaskCompletedEvent)(_report_task)


def _note_start(source: Any, event: LLMCallStartedEvent) -> None:
    if run := active_run():
        run.call_starts[event.call_id] = event.timestamp


def _seconds(run: RunContext, event: LLMCallCompletedEvent | LLMCallFailedEvent) -> float:
    started = run.call_starts.pop(event.call_id, event.timestamp)
    return round((event.timestamp - started).total_seconds(), 3)


def _count_model_call(source: Any, event: LLMCallCompletedEvent) -> None:
    run = active_run()
    if run is None:
        return
    usage = event.usage or {}
    tokens = (int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0))
    model = event.model or ""
    run.usage.add(
        model if "/" in model else f"{getattr(source, 'provider', 'openai')}/{model}", tokens if usage else None
    )
    step, seconds = event.task_name or "model call", _seconds(run, event)
    run.emit("model.called", agent=event.agent_role, step=step, model=model, tokens=sum(tokens), seconds=seconds)


def _report_failed_call(source: Any, event: LLMCallFailedEvent) -> None:
    if run := active_run():
        step, seconds = event.task_name or "model call", _seconds(run, event)
        run.emit("model.failed", agent=event.agent_role, step=step, error=event.error, seconds=seconds)


def _report_tool_call(source: Any, event: ToolUsageFinishedEvent) -> None:
    if run := active_run():
        seconds = (event.finished_at - event.started_at).total_seconds()
        error = event.failure.message if event.failure else None
        run.emit("tool.called", agent=event.agent_role, tool=event.tool_name, seconds=round(seconds, 3), error=error)


def _report_tool_error(source: Any, event: ToolUsageErrorEvent) -> None:
    if run := active_run():
        run.emit("tool.called", agent=event.agent_role, tool=event.tool_name, error=str(event.error))


def _report_task(source: Any, event: TaskCompletedEvent) -> None:
    if run := active_run():
        run.emit("task.finished", agent=event.output.agent, task=event.output.name)
