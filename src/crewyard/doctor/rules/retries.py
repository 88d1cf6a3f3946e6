"""F08 and F09: runs and calls that are tried again for ever, or not at all."""

import ast
from collections.abc import Iterator

from crewyard.doctor.findings import Finding
from crewyard.doctor.names import kind_of
from crewyard.doctor.nodes import Function, constant, keyword, method, parameters
from crewyard.doctor.project import Project
from crewyard.doctor.runs import starts
from crewyard.doctor.source import Source


def endless_loops(source: Source, project: Project) -> Iterator[Finding]:
    """`while True` around a run that is tried again, and a function that calls itself in an except."""
    for loop in source.of(ast.While):
        if constant(loop.test) not in (True, 1):
            continue
        for node in source.inside(loop):
            if isinstance(node, ast.Try) and _tries_a_run(source, project, node) and not _leaves(source, node):
                yield source.found(loop, "F08", "error", "`while True` tries a failing run again for ever")
                break
    for handler in source.of(ast.ExceptHandler):
        function = source.function(handler)
        if any(isinstance(node, ast.If | ast.AugAssign) for node in source.inside(handler)):
            continue  # something decides whether it is tried again
        for node in source.inside(handler):
            if (
                isinstance(node, ast.Call)
                and function
                and _calls_itself(source, node, function)
                and _is_unchanged(node, function)
            ):
                yield source.found(
                    node, "F08", "error", f"{method(node)}() calls itself again after an error, without a count"
                )


def _tries_a_run(source: Source, project: Project, block: ast.Try) -> bool:
    calls = (
        node
        for statement in block.body
        for node in (statement, *source.inside(statement))
        if isinstance(node, ast.Call)
    )
    return any(
        starts(project, source, call) or source.name(call.func).startswith(("requests.", "litellm.")) for call in calls
    )


def _leaves(source: Source, block: ast.Try) -> bool:
    """Whether each except clause may end the loop, or the loop serves one request after another: no success ends it."""
    ways = (ast.Raise, ast.Return, ast.Break)
    succeeds = [node for one in (*block.body, *block.orelse) for node in (one, *source.inside(one))]
    if not any(isinstance(node, ast.Return | ast.Break) for node in succeeds):
        return True
    return all(any(isinstance(node, ways) for node in source.inside(handler)) for handler in block.handlers)


def _calls_itself(source: Source, call: ast.Call, function: Function) -> bool:
    own = getattr(function, "name", "")
    target = call.func
    klass = source.where[function].klass
    if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and target.value.id == "self":
        return klass is not None and target.attr == own
    return isinstance(target, ast.Name) and target.id == own and klass is None


def _is_unchanged(call: ast.Call, function: Function) -> bool:
    """Whether a function calls itself with nothing but its own parameters, so that nothing is counted."""
    values = [*call.args, *(item.value for item in call.keywords)]
    return all(isinstance(value, ast.Name) and value.id in parameters(function) for value in values)


def throttled(source: Source, project: Project) -> Iterator[Finding]:
    """A model client that does not try a throttled call again, or a 429 that is given to the caller."""
    for call in source.of(ast.Call):
        if kind_of(source.name(call.func)) == "model client":
            for name in ("num_retries", "max_retries"):
                value = keyword(call, name)
                if isinstance(value, ast.Constant) and value.value == 0 and value.value is not False:
                    yield source.found(
                        value, "F09", "error", f"{method(call)} never tries a throttled call again: {name}=0"
                    )
    for handler in source.of(ast.ExceptHandler):
        if "RateLimitError" not in (ast.dump(handler.type) if handler.type else ""):
            continue
        raised = next(
            (node for node in source.inside(handler) if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)),
            None,
        )
        status = constant(keyword(raised.exc, "status_code")) if raised and isinstance(raised.exc, ast.Call) else None
        if status == 500:
            yield source.found(raised or handler, "F09", "error", "the provider's 429 becomes a 500 for the caller")


RULES = (endless_loops, throttled)
