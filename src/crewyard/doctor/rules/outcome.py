"""F14, F17 and F18: whose memory a run has, and what becomes of its output and its errors."""

import ast
from collections.abc import Iterator

from crewyard.doctor.findings import Finding
from crewyard.doctor.names import kind_of
from crewyard.doctor.nodes import Function, is_true, keyword, method, names_in, text
from crewyard.doctor.project import Project
from crewyard.doctor.roles import is_startup
from crewyard.doctor.runs import callee, starts, starts_below
from crewyard.doctor.source import Source

MEM0 = frozenset(
    {
        "mem0.Memory",
        "mem0.MemoryClient",
        "mem0.AsyncMemory",
        "mem0.AsyncMemoryClient",
        "mem0.Memory.from_config",
        "mem0.AsyncMemory.from_config",
    }
)
SCOPES = ("user_id", "filters", "agent_id", "run_id", "app_id")
CREW_MEMORIES = frozenset({"ShortTermMemory", "LongTermMemory", "EntityMemory", "UserMemory", "Memory"})
SAYS = frozenset(
    {"print", "str", "repr", "type", "JSONResponse", "jsonify", "dict", "format", "dumps", "secho", "echo"}
)
PRINTS = frozenset({"print", "secho", "echo"})
LOGS = frozenset(
    {"exception", "error", "critical", "warning", "capture_exception", "print_exc", "format_exc", "record_exception"}
)


def unscoped_memory(source: Source, project: Project) -> Iterator[Finding]:
    """Memory that all users share."""
    for call in source.of(ast.Call):
        name, last = source.name(call.func), method(call)
        if kind_of(name) == "crew":
            value = keyword(call, "memory")
            if value is not None and is_true(value):
                yield source.found(
                    value,
                    "F14",
                    "error" if project.service else "hint",
                    "memory=True is one memory for the users of all runs",
                    "give memory=Memory(root_scope=f'/user/{user_id}')",
                )
        elif (
            name.startswith("crewai.memory")
            and last in CREW_MEMORIES
            and last == "Memory"
            and not keyword(call, "root_scope")
        ):
            yield source.found(
                call, "F14", "error", "this memory has no root_scope: it is shared by the users of all runs"
            )
        elif (
            last in ("add", "search", "get_all")
            and isinstance(call.func, ast.Attribute)
            and _is_mem0(source, call.func.value)
        ):
            yield from _mem0(source, call, last)


def _is_mem0(source: Source, node: ast.AST) -> bool:
    return any(isinstance(value, ast.Call) and source.name(value.func) in MEM0 for value in source.values(node))


def _mem0(source: Source, call: ast.Call, last: str) -> Iterator[Finding]:
    given = [keyword(call, name) for name in SCOPES if keyword(call, name) is not None]
    if not given and not any(item.arg is None for item in call.keywords) and len(call.args) < 2:
        yield source.found(call, "F14", "error", f"Mem0's {last}() is called without a user")
    elif len(given) == 1 and text(user := keyword(call, "user_id")):
        yield source.found(
            call, "F14", "error", f"Mem0's {last}() is called for the same user {text(user)!r} in all runs"
        )


def unchecked_output(source: Source, project: Project) -> Iterator[Finding]:
    """What a model wrote is evaluated, or parsed and used as it is."""
    for call in source.of(ast.Call):
        name = source.name(call.func)
        if (
            name not in ("eval", "exec", "json.loads", "ast.literal_eval")
            or not call.args
            or not _is_output(source, project, call.args[0])
        ):
            continue
        if name in ("eval", "exec"):
            yield source.found(call, "F17", "error", f"{name}() of what a model wrote")
        elif not _is_handled(source, call):
            yield source.found(
                call, "F17", "hint", f"{name}() of what a model wrote, and nothing checks what comes out"
            )


def _is_output(source: Source, project: Project, node: ast.AST, depth: int = 0) -> bool:
    """Whether an expression is the output of a run: `result`, `result.raw`, `str(result)`."""
    if isinstance(node, ast.Call):
        if isinstance(node.func, ast.Attribute) and starts(project, source, node):
            return True
        if isinstance(node.func, ast.Name) and node.func.id == "str" and node.args:
            return _is_output(source, project, node.args[0], depth)
        return (
            isinstance(node.func, ast.Attribute)
            and node.func.attr in ("strip", "replace")
            and _is_output(source, project, node.func.value, depth)
        )
    if isinstance(node, ast.Await):
        return _is_output(source, project, node.value, depth)
    if isinstance(node, ast.Attribute):
        return node.attr in ("raw", "summary") and _is_output(source, project, node.value, depth)
    if isinstance(node, ast.Name) and depth < 4:
        return any(_is_output(source, project, value, depth + 1) for value in source.values(node))
    return False


def _is_handled(source: Source, call: ast.Call) -> bool:
    """Whether a failure to parse is caught, or the value goes on to a model that validates it."""
    for above in source.above(call):
        if isinstance(above, ast.Try) and above.handlers:
            return True
        if isinstance(above, ast.Call) and (
            method(above) in ("model_validate", "validate", "parse_obj")
            or any(item.arg is None for item in above.keywords)
        ):
            return True
    return False


def lost_errors(source: Source, project: Project) -> Iterator[Finding]:
    """An except around a run that says nothing of what happened."""
    for block in source.of(ast.Try):
        calls = [node for one in block.body for node in (one, *source.inside(one)) if isinstance(node, ast.Call)]
        if not any(_is_run(source, project, call) for call in calls):
            continue
        for handler in block.handlers:
            if finding := _lost(source, handler):
                yield finding


def _is_run(source: Source, project: Project, call: ast.Call) -> bool:
    """Whether a call starts a run, itself or in a function of the project."""
    target = callee(project, source, call.func)
    return starts(project, source, call) or bool(target and starts_below(project, *target))


def _lost(source: Source, handler: ast.ExceptHandler) -> Finding | None:
    if not _is_broad(source, handler):
        return None
    nodes = list(_own(handler))
    raised = [node for node in nodes if isinstance(node, ast.Raise)]
    if raised:
        return _raised(source, handler, raised)
    calls = [node for node in nodes if isinstance(node, ast.Call)]
    if any(_is_log(source, call, handler.name) for call in calls):
        return None
    if any(_mentions(source, call, handler.name) for call in calls):
        return source.found(
            handler, "F18", "hint", "an except around a run hands on the error's text: the traceback is lost"
        )
    if any(method(call) in PRINTS and handler.name in names_in(call) for call in calls):
        return source.found(
            handler, "F18", "hint", "an except around a run prints the error's text alone: the traceback is lost"
        )
    function = source.function(handler)
    certain = function is not None and not is_startup(source, function) and not source.where[handler].main
    return source.found(
        handler,
        "F18",
        "error" if certain else "hint",
        "an except around a run neither logs nor raises: the traceback is lost",
    )


def _own(handler: ast.ExceptHandler) -> Iterator[ast.AST]:
    """The nodes of an except clause, without what it does if something else fails in it."""
    rest: list[ast.AST] = [*handler.body]
    while rest:
        node = rest.pop()
        yield node
        if not isinstance(node, Function | ast.ClassDef):
            rest += [one for one in ast.iter_child_nodes(node) if not isinstance(one, ast.ExceptHandler)]


def _mentions(source: Source, call: ast.Call, error: str | None) -> bool:
    """Whether the error's text goes to a function that may record it: not if it is printed or put into an answer."""
    if error is None or method(call) in SAYS:
        return False
    return any(
        isinstance(node, ast.Name) and node.id == error
        for value in [*call.args, *(item.value for item in call.keywords)]
        for node in ast.walk(value)
    )


def _is_broad(source: Source, handler: ast.ExceptHandler) -> bool:
    return handler.type is None or source.name(handler.type) in ("Exception", "BaseException")


def _raised(source: Source, handler: ast.ExceptHandler, raised: list[ast.Raise]) -> Finding | None:
    for one in raised:
        if one.exc is None or (isinstance(one.exc, ast.Name) and one.exc.id == handler.name):
            continue
        if isinstance(one.cause, ast.Constant) and one.cause.value is None:
            return source.found(one, "F18", "error", "`from None` cuts the error of the run off")
        if one.cause is None and not any(
            isinstance(node, ast.Call) and _is_log(source, node, handler.name) for node in source.inside(handler)
        ):
            return source.found(one, "F18", "hint", "a new error is raised without `from`: its cause is not named")
    return None


def _is_log(source: Source, call: ast.Call, error: str | None) -> bool:
    """Whether a call records the exception with its traceback, or hands it on whole."""
    last = method(call)
    if last in (
        "exception",
        "capture_exception",
        "print_exc",
        "format_exc",
        "print_exception",
        "record_exception",
        "send_task_failed",
        "retry",
    ):
        return True
    if last in LOGS or last in ("log", "info", "debug"):
        return True
    given = [*call.args, *(item.value for item in call.keywords)]
    whole = any(isinstance(value, ast.Name) and value.id == error for value in given)
    return whole and last not in SAYS | {"error", "write"}


RULES = (unscoped_memory, unchecked_output, lost_errors)
