"""The hooks that hold the limits while a crew runs; outside of a run of ours they do nothing."""

from collections.abc import Callable
from contextvars import Context
from functools import wraps
from typing import Any

from crewai.events import crewai_event_bus
from crewai.events.base_events import BaseEvent
from crewai.hooks.contexts import ExecutionStartContext, StepContext
from crewai.hooks.dispatch import HookAborted, InterceptionPoint, get_hooks, register
from crewai.hooks.llm_hooks import LLMCallHookContext
from crewai.hooks.tool_hooks import ToolCallHookContext
from crewai.llms import retry as crewai_retry
from crewai.tools.base_tool import Tool
from crewai.tools.tool_failure import ToolFailure, ToolFailureReason

from crewyard_runtime.context import RunContext, active_run
from crewyard_runtime.errors import BuildRefused, RunStopped, error_chain
from crewyard_runtime.frameworks.crewai import events
from crewyard_runtime.frameworks.crewai.limits import unlimited, unlimited_agent
from crewyard_runtime.frameworks.messages import bounded_history, tell_what_is_known
from crewyard_runtime.tools import ToolFailed

DELEGATION_TOOLS = ("delegate_work_to_coworker", "ask_question_to_coworker")
# The agents that CrewAI makes by itself, for a guardrail in words and for a crew's planning.
FRAMEWORK_ROLES = ("Guardrail Agent", "Task Execution Planner")


class _HooksInstalled(BaseEvent):
    """The first event of a process."""


def install_hooks() -> None:
    """Register the runtime's hooks and event handlers, once a process; outside of a run they do nothing."""
    if _at_start in get_hooks(InterceptionPoint.EXECUTION_START):
        return
    register(InterceptionPoint.EXECUTION_START, _at_start)
    register(InterceptionPoint.PRE_STEP, _before_step)
    register(InterceptionPoint.PRE_MODEL_CALL, _before_model_call)
    register(InterceptionPoint.PRE_TOOL_CALL, _before_tool_call)
    events.listen()
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


def _abort(run: RunContext, why: Exception) -> None:
    run.stop(why)
    raise HookAborted(str(why))


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
        _abort(run, BuildRefused(problem))
    for agent in crew.agents:
        agent.max_retry_limit = 0  # CrewAI would do the whole task again after an error that was retried already
        if not run.with_tools:
            agent.tools = []
    if not run.with_tools:
        for task in crew.tasks:
            task.tools = []


def _before_step(context: StepContext) -> None:
    run = active_run()
    if run is not None and context.kind == "task":
        run.delegations.reset()  # a manager may hand each task to the same agent


def _before_model_call(context: LLMCallHookContext) -> None:
    run = active_run()
    if run is None:
        return
    if run.stopped is None:
        crewai_event_bus.flush(timeout=5)  # the tokens of the call before are counted in another thread
        if reason := run.spent_limit():
            _abort(run, RunStopped(reason))
        _bound_iterations(context, run)
    if run.stopped:
        raise HookAborted(str(run.stopped))
    context.messages[:] = bounded_history(context.messages, run.limits.history_messages)
    if context.agent is not None and context.agent.role not in FRAMEWORK_ROLES:
        tell_what_is_known(context.messages, run.known.text())


def _bound_iterations(context: LLMCallHookContext, run: RunContext) -> None:
    """Agents in a crew were checked at its start; this is for one that runs alone or that CrewAI made itself."""
    executor: Any = context.executor
    agent = context.agent
    if executor is None or agent is None or getattr(executor, "max_iter", 0) <= run.limits.max_iter:
        return
    if context.crew is None and agent.role not in FRAMEWORK_ROLES:
        for problem in unlimited_agent(agent, run.limits):
            _abort(run, BuildRefused(problem))
    executor.max_iter = run.limits.max_iter


def _before_tool_call(context: ToolCallHookContext) -> None:
    run = active_run()
    if run is None:
        return
    if run.stopped:
        raise HookAborted(str(run.stopped))
    crewai_event_bus.flush(timeout=5)  # so that the model's call is reported before the tool's
    if context.tool_name in DELEGATION_TOOLS:
        sender = context.agent.role if context.agent else "an agent"
        receiver = str(context.tool_input.get("coworker", ""))
        run.emit("delegated", agent=sender, to=receiver)
        if reason := run.delegations.record(sender, receiver):
            _abort(run, RunStopped(reason))
        return
    tool: Any = context.tool
    for target in (tool, getattr(tool, "_original_tool", None)):
        if target is not None:
            _guard(target, context.tool_name)


def _guard(tool: Any, name: str) -> None:
    """Send a tool's calls through the run's tool guard, in place: the executor has taken hold of the object already.

    name: as models know the tool.
    """
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
            return run.tool_guard.call(name, function, *args, **kwargs)
        except ToolFailed as error:
            cause = error_chain(error.__cause__ or error)[-1]
            run.log.warning("tool.failed tool=%s %s at %s", name, error, cause.where)
            return ToolFailure(message=str(error), reason=ToolFailureReason.EXCEPTION)

    guarded.guarded_by_crewyard = True  # type: ignore[attr-defined]
    object.__setattr__(tool, attribute, guarded)
