"""F07, F08, F11 and F16: what goes on or grows without a bound."""

import ast
from collections.abc import Iterator

from crewyard.doctor.findings import Finding
from crewyard.doctor.names import MODEL_CALLS, kind_of
from crewyard.doctor.nodes import constant, is_true, keyword, method
from crewyard.doctor.project import Project, unbounded
from crewyard.doctor.roles import is_tool
from crewyard.doctor.source import Source

LARGEST = {
    "max_iter": 100,
    "max_round": 100,
    "max_turns": 100,
    "max_retry_limit": 20,
    "max_consecutive_auto_reply": 100,
    "max_retries": 20,
    "max_tool_iterations": 100,
}
MOST_THREADS = 16
POOLS = frozenset(
    {"concurrent.futures.ThreadPoolExecutor", "concurrent.futures.ProcessPoolExecutor", "multiprocessing.Pool"}
)
SPREADERS = POOLS | {"threading.Thread", "asyncio.gather"}
TENACITY = frozenset({"tenacity.retry", "tenacity.Retrying", "tenacity.AsyncRetrying"})
BACKOFF = frozenset({"backoff.on_exception", "backoff.on_predicate"})
NO_STOP = "tenacity tries again for ever: there is no stop"
TEAMS = frozenset({"RoundRobinGroupChat", "SelectorGroupChat", "Swarm"})


def threads(source: Source, project: Project) -> Iterator[Finding]:
    """A pool or a loop that starts threads without a bound."""
    for call in source.of(ast.Call):
        name = source.name(call.func)
        if name not in SPREADERS or source.function(call) is None:
            continue
        in_tool = _in_tool(source, call, project)
        if name in POOLS:
            if not (call.args or keyword(call, "max_workers") or keyword(call, "processes")):
                yield source.found(
                    call,
                    "F07",
                    "error" if in_tool else "hint",
                    f"{method(call)}() takes as many workers as the machine allows",
                )
            elif (
                most := _number(source, call.args[0] if call.args else keyword(call, "max_workers"))
            ) and most > MOST_THREADS:
                yield source.found(
                    call, "F07", "error" if in_tool else "hint", f"{method(call)} starts up to {most:g} workers"
                )
        elif (
            name == "threading.Thread"
            and in_tool
            and any(isinstance(one, ast.For | ast.While | ast.ListComp) for one in source.above(call))
        ):
            yield source.found(call, "F07", "error", "a tool starts a thread for each item of a list")
        elif name == "asyncio.gather" and in_tool and _is_of_a_list(call) and "Semaphore" not in source.text:
            yield source.found(call, "F07", "hint", "a tool gathers all of a list at once")


def _is_of_a_list(call: ast.Call) -> bool:
    return bool(call.args) and isinstance(call.args[0], ast.Starred)


def _in_tool(source: Source, node: ast.AST, project: Project) -> bool:
    return any(is_tool(source, one, project) for one in source.functions(node))


def _number(source: Source, node: ast.AST | None) -> float:
    if isinstance(node, ast.Name):
        values = source.values(node)
        node = values[0] if len(values) == 1 else None
    value = constant(node)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else 0


def unlimited(source: Source, project: Project) -> Iterator[Finding]:
    """A team, an agent, a model client or an HTTP call without a limit."""
    for call in source.of(ast.Call):
        name, last = source.name(call.func), method(call)
        kind = kind_of(name)
        if kind == "team" and last in TEAMS and _never_ends(call):
            seen = f"{last} has no termination_condition and no max_turns: it never ends by itself"
            yield source.found(call, "F08", "error", seen)
        if kind:
            yield from _too_many(source, call, last)
        timeout = keyword(call, "timeout")
        if not isinstance(timeout, ast.Constant) or timeout.value is not None:
            continue
        if kind == "model client":
            yield source.found(timeout, "F08", "error", f"{last} waits for the model without a timeout")
        elif name.startswith("httpx."):
            certain = _in_tool(source, call, project)
            yield source.found(call, "F08", "error" if certain else "hint", "httpx waits without a timeout")


def _never_ends(call: ast.Call) -> bool:
    """Whether a team is given nothing that ends it, as far as its arguments can be seen."""
    unseen = len(call.args) > 2 or any(item.arg is None for item in call.keywords)
    return not unseen and unbounded(call, "termination_condition") and unbounded(call, "max_turns")


def unlimited_retries(source: Source, project: Project) -> Iterator[Finding]:
    """tenacity without a stop, backoff without a largest number."""
    for call in source.of(ast.Call):
        name = source.name(call.func)
        if name in TENACITY and not call.args and not keyword(call, "stop"):
            yield source.found(call, "F08", "error", NO_STOP)
        if name in BACKOFF and not (keyword(call, "max_tries") or keyword(call, "max_time")):
            yield source.found(call, "F08", "error", "backoff tries again for ever: there is no max_tries or max_time")
    for function in source.definitions():
        for decorator in function.decorator_list:
            if source.name(decorator) == "tenacity.retry":
                yield source.found(decorator, "F08", "error", NO_STOP)


def _too_many(source: Source, call: ast.Call, last: str) -> Iterator[Finding]:
    for item in call.keywords:
        most = LARGEST.get(item.arg or "")
        given = _number(source, item.value)
        if most and given > most:
            yield source.found(item.value, "F08", "error", f"{last} may go on for {item.arg}={given:g}")


def history(source: Source, project: Project) -> Iterator[Finding]:
    """A crew or a loop whose messages are never cut."""
    for call in source.of(ast.Call):
        value = keyword(call, "respect_context_window")
        if isinstance(value, ast.Constant) and value.value is False and kind_of(source.name(call.func)) == "agent":
            yield source.found(
                value, "F11", "error", "respect_context_window=False ends the run when the context is full"
            )
    for loop in source.of(ast.While):
        if constant(loop.test) is not True:
            continue
        calls = [node for node in source.inside(loop) if isinstance(node, ast.Call)]
        grows = {
            source.name(one.func.value)
            for one in calls
            if isinstance(one.func, ast.Attribute) and one.func.attr in ("append", "extend")
        }
        for call in calls:
            if method(call) in {"create", *MODEL_CALLS}:
                sent = keyword(call, "messages") or (call.args[0] if call.args else None)
                if isinstance(sent, ast.Name) and sent.id in grows and not _is_cut(source, loop, sent.id):
                    yield source.found(
                        call, "F11", "hint", f"{sent.id} grows with each turn of the loop and is sent whole"
                    )
                    break


def _is_cut(source: Source, loop: ast.While, name: str) -> bool:
    return any(
        (
            isinstance(node, ast.Assign | ast.Delete)
            and any(isinstance(one, ast.Name) and one.id == name for one in getattr(node, "targets", ()))
        )
        or (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in ("pop", "clear")
            and source.name(node.func.value) == name
        )
        for node in source.inside(loop)
    )


def delegation(source: Source, project: Project) -> Iterator[Finding]:
    """Two or more agents of one file that may delegate to each other."""
    delegating = [
        value
        for call in source.of(ast.Call)
        if kind_of(source.name(call.func)) == "agent" and is_true(value := keyword(call, "allow_delegation"))
    ]
    if len(delegating) > 1:
        for value in delegating:
            assert value is not None
            yield source.found(
                value, "F16", "error", f"one of {len(delegating)} agents that may delegate to each other"
            )


RULES = (threads, unlimited, unlimited_retries, history, delegation)
