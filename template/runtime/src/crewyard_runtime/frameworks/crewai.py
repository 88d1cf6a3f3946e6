"""CrewAI under the runtime: builds, checks, kicks off and counts, through CrewAI's own hooks and events."""

import json
import logging
from collections.abc import Callable, Iterator
from contextvars import Context
from functools import wraps
from typing import Any

# A kickoff imports these lazily; here they are preloaded into the fork server (0.6 s a run otherwise).
import openai.resources.chat.completions  # noqa: F401
from crewai import LLM, BaseLLM, Crew, Flow, Task
from crewai.agents.agent_builder.base_agent import BaseAgent
from crewai.crews.crew_output import CrewOutput
from crewai.events import (
    LLMCallCompletedEvent,
    LLMCallFailedEvent,
    LLMCallStartedEvent,
    TaskCompletedEvent,
    ToolUsageErrorEvent,
    ToolUsageFinishedEvent,
    crewai_event_bus,
)
from crewai.events.base_events import BaseEvent
from crewai.hooks.contexts import ExecutionStartContext
from crewai.hooks.dispatch import HookAborted, InterceptionPoint, get_hooks, register
from crewai.hooks.llm_hooks import LLMCallHookContext
from crewai.hooks.tool_hooks import ToolCallHookContext
from crewai.llms import retry as crewai_retry
from crewai.tools.base_tool import BaseTool, Tool
from crewai.tools.structured_tool import CrewStructuredTool
from crewai.tools.tool_failure import ToolFailure, ToolFailureReason

from crewyard_runtime.application import Application
from crewyard_runtime.context import RunContext, active_run
from crewyard_runtime.errors import BuildRefused, RunStopped, error_chain
from crewyard_runtime.limits import RunLimits
from crewyard_runtime.providers import split_model
from crewyard_runtime.settings import RuntimeSettings
from crewyard_runtime.tools import ToolFailed

# It warns at each call that it cannot count tokens exactly; the provider's own count comes with the answer.
logging.getLogger("crewai.llms.base_llm").setLevel(logging.ERROR)

# A flow would open a store on the container's disk for itself, with a library that the project leaves out (lancedb).
Flow._skip_auto_memory = True  # type: ignore[attr-defined]

# What must be made anew for each run.
PARTS: tuple[type, ...] = (BaseAgent, Task, Crew, Flow, BaseLLM, BaseTool, CrewStructuredTool)

DELEGATION_TOOLS = ("delegate_work_to_coworker", "ask_question_to_coworker")
GUARDRAIL_ROLE = "Guardrail Agent"  # the agent that CrewAI makes by itself for a guardrail in words


def make_llm(run: RunContext, settings: RuntimeSettings, role: str) -> LLM:
    """A new client for this run: a shared one would add up the tokens of several runs.

    Its retries are the provider SDK's: exponential backoff with jitter after 429, 5xx and a broken connection, and the
    server's Retry-After where it gives one.
    """
    model = settings.model(role)
    key = settings.api_key(model)
    return LLM(
        model=model if "/" in model else f"openai/{model}",
        api_key=key.get_secret_value() if key else None,
        base_url=settings.openai_base_url if split_model(model)[0] == "openai" else None,
        temperature=settings.temperature,
        timeout=run.limits.model_seconds,
        max_retries=run.limits.model_retries,
    )


def build(application: Application, run: RunContext) -> Crew | Flow[Any]:
    """Call the build function. Raises BuildRefused for an agent without limits, and for neither crew nor flow."""
    install_hooks()
    built: Crew | Flow[Any] = application.load_build()(run)
    if isinstance(built, Crew):
        _refuse(built, run.limits)
    elif not isinstance(built, Flow):
        msg = f"{application.build} returned a {type(built).__name__}: return a Crew or a Flow."
        raise BuildRefused(msg)
    return built


def kick_off(built: Crew | Flow[Any], run: RunContext) -> Any:
    """Run a crew or flow with the run's input as its inputs. Raises RunStopped when the runtime ended it."""
    dumped = run.input.model_dump(mode="json")
    inputs = dumped if isinstance(dumped, dict) else {"input": dumped}
    if isinstance(built, Flow):
        built.suppress_flow_events = True  # else it draws panels
    try:
        result = built.kickoff(inputs=inputs)
    except Exception as error:
        if run.stopped and not isinstance(error, RunStopped):
            raise RunStopped(run.stopped) from error
        raise
    finally:
        crewai_event_bus.flush()
    if run.stopped:
        raise RunStopped(run.stopped)
    return result


def plain_result(result: Any) -> Any:
    """A crew's output as its Pydantic model, dict or text; what a flow returned as it is."""
    if isinstance(result, CrewOutput):
        return result.pydantic or result.json_dict or _parsed(result.raw)
    return _parsed(result) if isinstance(result, str) else result


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


class _HooksInstalled(BaseEvent):
    """The first event of a process."""


def install_hooks() -> None:
    """Register the runtime's hooks and event handlers, once a process; outside of a run they do nothing."""
    if _at_start in get_hooks(InterceptionPoint.EXECUTION_START):
        return
    register(InterceptionPoint.EXECUTION_START, _at_start)
    register(InterceptionPoint.PRE_MODEL_CALL, _before_model_call)
    register(InterceptionPoint.PRE_TOOL_CALL, _before_tool_call)
    crewai_event_bus.on(LLMCallStartedEvent)(_note_start)
    crewai_event_bus.on(LLMCallCompletedEvent)(_count_model_call)
    crewai_event_bus.on(LLMCallFailedEvent)(_report_failed_call)
    crewai_event_bus.on(ToolUsageFinishedEvent)(_report_tool_call)
    crewai_event_bus.on(ToolUsageErrorEvent)(_report_tool_error)
    crewai_event_bus.on(TaskCompletedEvent)(_report_task)
    # The bus starts its threads at the first event, and they hold on to what the context of that moment holds: in a
    # process that lives on, the whole first run. So the first event is this one, in a context that holds nothing.
    crewai_event_bus.on(_HooksInstalled)(lambda source, event: None)
    Context().run(crewai_event_bus.emit, None, _HooksInstalled(type="crewyard_hooks_installed"))


def watch_handovers(seen: Callable[[str, Any], None], started: Callable[[object], None]) -> None:
    """Call `seen` with a label and the data at every border in a crew or flow: inputs, steps, state, outputs.

    And `started` with each crew or flow that is kicked off.
    """
    register(InterceptionPoint.INPUT, lambda context: started(context.crew or context.flow))

    def watch(context: Any) -> None:
        step = getattr(context, "step_name", None) or type(context).__name__.removesuffix("Context")
        seen(f"what {step} hands over", context.payload)
        if context.flow is not None:
            seen(f"the flow's state at {step}", context.flow.state)

    for point in (
        InterceptionPoint.INPUT,
        InterceptionPoint.OUTPUT,
        InterceptionPoint.PRE_STEP,
        InterceptionPoint.POST_STEP,
    ):
        register(point, watch)


def _refuse(crew: Crew, limits: RunLimits) -> None:
    problems = list(unlimited(crew, limits))
    if problems:
        raise BuildRefused(" ".join(problems))


def unlimited(crew: Crew, limits: RunLimits) -> Iterator[str]:
    """One sentence for each limit that an agent or task of the crew lacks or exceeds."""
    managers = [crew.manager_agent] if crew.manager_agent else []
    for agent in (*crew.agents, *managers):
        yield from _unlimited_agent(agent, limits)
    for name in ("manager_llm", "planning_llm", "function_calling_llm"):
        yield from _unlimited_llm(f"The crew's {name}", getattr(crew, name, None), limits)
    for task in crew.tasks:
        label = f"The task {task.name or task.description[:40]!r}"
        if task.human_input:
            yield f"{label} asks a human (human_input), and a run has no terminal: remove human_input."
        if task.guardrail_max_retries > limits.guardrail_retries:
            yield (
                f"{label} has guardrail_max_retries={task.guardrail_max_retries}, above the limit guardrail_retries="
                f"{limits.guardrail_retries}: build it with guardrail_max_retries=run.limits.guardrail_retries."
            )


def _unlimited_agent(agent: BaseAgent, limits: RunLimits) -> Iterator[str]:
    label = f"The agent {agent.role.strip()!r}"
    if agent.max_iter > limits.max_iter:
        set_by = "CrewAI's default" if "max_iter" not in agent.model_fields_set else "set"
        yield (
            f"{label} has max_iter={agent.max_iter} ({set_by}), above the limit max_iter={limits.max_iter}: "
            "build it with max_iter=run.limits.max_iter."
        )
    yield from _unlimited_llm(f"{label}: its model", agent.llm, limits)
    yield from _unlimited_llm(
        f"{label}: its function_calling_llm", getattr(agent, "function_calling_llm", None), limits
    )


def _unlimited_llm(label: str, llm: Any, limits: RunLimits) -> Iterator[str]:
    if llm is None:
        return
    timeout, retries = getattr(llm, "timeout", None), getattr(llm, "max_retries", 0)
    if not isinstance(timeout, int | float) or timeout > limits.model_seconds:
        yield (
            f"{label} has timeout={timeout}, and the limit is model_seconds={limits.model_seconds:g}: "
            'build it with llm=run.llm("fast") or run.llm("strong").'
        )
    if retries > limits.model_retries:
        yield f"{label} has max_retries={retries}, above the limit model_retries={limits.model_retries}."


def _abort(run: RunContext, reason: str) -> None:
    run.stop(reason)
    raise HookAborted(reason)


def _at_start(context: ExecutionStartContext) -> None:
    run = active_run()
    if run is None:
        return
    # CrewAI tries a throttled call three times on top of the SDK's own retries; one place is enough. And what is set
    # here holds for this kickoff alone: it is a context variable.
    crewai_retry._active_llm_rate_limit_retry.set(True)
    crew = context.crew
    if crew is None:
        return
    for problem in unlimited(crew, run.limits):
        _abort(run, problem)
    for agent in crew.agents:
        agent.max_retry_limit = 0  # CrewAI would do the whole task again after an error that was retried already
        if not run.with_tools:
            agent.tools = []
    if not run.with_tools:
        for task in crew.tasks:
            task.tools = []


def _before_model_call(context: LLMCallHookContext) -> None:
    run = active_run()
    if run is None:
        return
    if run.stopped is None:
        crewai_event_bus.flush(timeout=5)  # the tokens of the call before are counted in another thread
        if reason := run.spent_limit():
            _abort(run, reason)
        _bound_iterations(context, run)
    if run.stopped:
        raise HookAborted(run.stopped)
    context.messages[:] = bounded_history(context.messages, run.limits.history_messages)


def _bound_iterations(context: LLMCallHookContext, run: RunContext) -> None:
    """Agents in a crew were checked at its start; this is for one that runs alone or that CrewAI made itself."""
    executor: Any = context.executor
    agent = context.agent
    if executor is None or agent is None or getattr(executor, "max_iter", 0) <= run.limits.max_iter:
        return
    if context.crew is None and agent.role != GUARDRAIL_ROLE:
        for problem in _unlimited_agent(agent, run.limits):
            _abort(run, problem)
    executor.max_iter = run.limits.max_iter


def bounded_history(messages: list[Any], limit: int) -> list[Any]:
    """At most `limit` messages: what leads up to the task (system, first user message) and the newest of the rest.

    The answer of a tool is dropped together with the call it answers, or a provider would refuse the request.
    """
    if len(messages) <= limit:
        return messages
    first_user = next((at for at, message in enumerate(messages) if message["role"] == "user"), 0)
    head = messages[: first_user + 1][-limit:]
    tail = messages[len(messages) - (limit - len(head)) :] if limit > len(head) else []
    while tail and tail[0]["role"] == "tool":
        tail = tail[1:]
    return [*head, *tail]


def _before_tool_call(context: ToolCallHookContext) -> None:
    run = active_run()
    if run is None:
        return
    if run.stopped:
        raise HookAborted(run.stopped)
    crewai_event_bus.flush(timeout=5)  # so that the model's call is reported before the tool's
    if context.tool_name in DELEGATION_TOOLS:
        sender = context.agent.role if context.agent else "an agent"
        receiver = str(context.tool_input.get("coworker", ""))
        run.emit("delegated", agent=sender, to=receiver)
        if reason := run.delegations.record(sender, receiver):
            _abort(run, reason)
        return
    tool: Any = context.tool
    for target in (tool, getattr(tool, "_original_tool", None)):
        if target is not None:
            _guard(target)


def _guard(tool: Any) -> None:
    """Send a tool's calls through the run's tool guard, in place: the executor has taken hold of the object already."""
    attribute = "_run" if not isinstance(tool, Tool) and not hasattr(tool, "func") else "func"
    function = getattr(tool, attribute)
    if getattr(function, "guarded_by_crewyard", False):
        return

    @wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        run = active_run()
        if run is None:
            return function(*args, **kwargs)
        try:
            return run.tool_guard.call(tool.name, function, *args, **kwargs)
        except ToolFailed as error:
            cause = error_chain(error.__cause__ or error)[-1]
            run.log.warning("tool.failed tool=%s %s at %s", tool.name, error, cause.where)
            return ToolFailure(message=str(error), reason=ToolFailureReason.EXCEPTION)

    guarded.guarded_by_crewyard = True  # type: ignore[attr-defined]
    object.__setattr__(tool, attribute, guarded)


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
