"""F10: what is left on modules and classes."""

import ast
from collections.abc import Iterator

from crewyard.doctor.findings import Finding
from crewyard.doctor.nodes import Function, method
from crewyard.doctor.project import TOOL_BASES, Project
from crewyard.doctor.roles import is_queue_task, is_streamlit_page, is_tool, serving
from crewyard.doctor.rules.sandbox import tainted
from crewyard.doctor.runs import starts_below
from crewyard.doctor.source import Source

MUTATIONS = frozenset(
    {"append", "add", "update", "extend", "insert", "setdefault", "appendleft", "pop", "clear", "remove"}
)
QUEUES = frozenset({"asyncio.Queue", "queue.Queue", "queue.SimpleQueue"})
CONTAINERS = frozenset(
    {
        "dict",
        "list",
        "set",
        "collections.defaultdict",
        "collections.deque",
        "collections.OrderedDict",
        "collections.Counter",
    }
)


def shared_state(source: Source, project: Project) -> Iterator[Finding]:
    """What a tool or a request changes on its module or class."""
    if is_streamlit_page(source):
        return
    containers = _module_containers(source) | _imported_containers(source, project)
    seen: set[tuple[str, Function]] = set()
    for node in source.of(ast.Call, ast.Subscript, ast.AugAssign, ast.Assign):
        function = source.function(node)
        name = _changed(source, node) if function else ""
        if function is None or not name or (name, function) in seen:
            continue
        of_module = name in containers and not _is_local(source, node, name)
        if (of_module or _is_of_class(source, project, function, node, name)) and (who := _who(source, project, node)):
            seen.add((name, function))
            what = (
                "which all runs of this process share"
                if of_module
                else "an attribute that all objects of the class share"
            )
            yield source.found(node, "F10", "error", f"{who} changes {name}, {what}")


def _is_of_class(source: Source, project: Project, function: Function, node: ast.AST, name: str) -> bool:
    owner = source.where[node].klass
    if owner is None or not name.startswith((f"{owner.name}.", "cls.", "self.")):
        return False
    shared = _is_class_container(source, project, owner, name)
    return shared and not _is_loaded_once(source, function, node, name)


def _module_containers(source: Source) -> set[str]:
    """The lists, dicts and sets of the module that are empty at import, to be filled later."""
    found = set()
    for (function, name), values in source.bound.items():
        if function is None and any(source.where[value].at_import and _is_container(source, value) for value in values):
            found.add(name)
    return found


def _imported_containers(source: Source, project: Project) -> set[str]:
    """The same of other modules of the project, by the names that this module imports: `from db import ORDERS`."""
    found = set()
    for name in source.imports.values():
        module, _, last = name.rpartition(".")
        other = project.module(source, module) if module else None
        if other and other not in project.containers:
            project.containers[other] = _module_containers(other)
        if other and last in project.containers[other]:
            found.add(name)
    return found


def _is_container(source: Source, value: ast.expr) -> bool:
    if isinstance(value, ast.Dict):
        return all(_is_container(source, one) for one in value.values)
    if isinstance(value, ast.List | ast.Set):
        return not value.elts
    return isinstance(value, ast.Call) and source.name(value.func) in CONTAINERS


def _changed(source: Source, node: ast.AST) -> str:
    """The name of the container that this node changes."""
    target: ast.AST | None = None
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in MUTATIONS - {"pop", "clear", "remove"}
    ):
        target = node.func.value
    elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
        target = node.value
    elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Attribute):
        target = node.target
    elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute):
        function = source.function(node)
        kept = source.name(node.targets[0]).startswith("cls.") and function and tainted(source, function, node.value)
        target = node.targets[0] if kept else None
    while isinstance(target, ast.Subscript):
        target = target.value
    return source.name(target)


def _is_loaded_once(source: Source, function: Function, node: ast.AST, name: str) -> bool:
    """Whether a class method keeps what does not come from its caller: an import, a client, a table."""
    return (
        not name.startswith("self.")
        and isinstance(node, ast.Subscript)
        and not tainted(source, function, source.statement(node))
    )


def drained_queues(source: Source, project: Project) -> Iterator[Finding]:
    """A queue of the module that a request takes its answer from."""
    queues = {
        name
        for (function, name), values in source.bound.items()
        if function is None and any(isinstance(one, ast.Call) and source.name(one.func) in QUEUES for one in values)
    }
    for call in source.of(ast.Call) if queues else ():
        target = call.func.value if isinstance(call.func, ast.Attribute) else None
        takes = isinstance(target, ast.Name) and target.id in queues and method(call) in ("get", "get_nowait")
        if takes and isinstance(target, ast.Name) and serving(source, call) == "a web handler":
            seen = f"a web handler takes from {target.id} what any other request's run may have put there"
            yield source.found(call, "F10", "error", seen, "make a queue for each request, and hand it to the run")


def _is_local(source: Source, node: ast.AST, name: str) -> bool:
    return any(
        (function, name) in source.bound or name in {one.arg for one in function.args.args}
        for function in source.functions(node)
    ) and not any(
        isinstance(one, ast.Global) and name in one.names
        for function in source.functions(node)
        for one in source.inside(function)
    )


def _is_class_container(source: Source, project: Project, klass: ast.ClassDef, name: str) -> bool:
    """Whether the attribute is one that the class body makes and that Pydantic does not copy for each object."""
    attribute = name.split(".")[1]
    for one in klass.body:
        targets = one.targets if isinstance(one, ast.Assign) else [one.target] if isinstance(one, ast.AnnAssign) else []
        if not any(isinstance(target, ast.Name) and target.id == attribute for target in targets):
            continue
        copied = (
            name.startswith("self.")
            and _is_pydantic(project, klass)
            and isinstance(one, ast.AnnAssign)
            and "ClassVar" not in ast.dump(one.annotation)
        )
        if copied or not isinstance(one, ast.Assign | ast.AnnAssign) or one.value is None:
            return False
        replaced = any(where.function for _, where in source.attributes.get((klass.name, attribute), []))
        if name.startswith("self."):
            return _is_container(source, one.value) and not replaced
        return True
    return False


def _is_pydantic(project: Project, klass: ast.ClassDef) -> bool:
    bases = {base.rsplit(".", 1)[-1] for base in project.bases(klass.name)}
    return bool(bases & (TOOL_BASES | {"BaseModel", "Flow"}))


def _who(source: Source, project: Project, node: ast.AST) -> str:
    """Who changes it: a tool, a web handler, a queue's task, a run; "" if nothing says that several runs do."""
    if server := serving(source, node):
        return server
    for function in source.functions(node):
        if is_tool(source, function, project):
            return "a tool"
        if starts_below(project, source, function) and (project.service or is_queue_task(source, function)):
            return "a run"
    klass = source.where[node].klass
    if klass and any(base.rsplit(".", 1)[-1] in TOOL_BASES for base in project.bases(klass.name)):
        return "a tool"
    return ""


def counters(source: Source, project: Project) -> Iterator[Finding]:
    """A `global` that a tool or a request sets."""
    for node in source.of(ast.Global):
        function = source.function(node)
        if function is None:
            continue
        who = _who(source, project, node)
        for assignment in source.inside(function):
            targets = (
                assignment.targets
                if isinstance(assignment, ast.Assign)
                else [assignment.target]
                if isinstance(assignment, ast.AugAssign)
                else []
            )
            name = next((one.id for one in targets if isinstance(one, ast.Name) and one.id in node.names), "")
            if who and name and _is_of_a_user(source, function, assignment):
                yield source.found(
                    assignment, "F10", "error", f"{who} sets the global {name}, which all runs of this process share"
                )
                break


def _is_of_a_user(source: Source, function: Function, assignment: ast.AST) -> bool:
    """Whether what is kept is counted up or made of the function's arguments: not a client that is loaded once."""
    return isinstance(assignment, ast.AugAssign) or (
        isinstance(assignment, ast.Assign) and tainted(source, function, assignment.value)
    )


def cached_tools(source: Source, project: Project) -> Iterator[Finding]:
    """A tool whose answers are kept for all users by functools."""
    for function in source.definitions():
        names = {source.name(one.func if isinstance(one, ast.Call) else one) for one in function.decorator_list}
        if (
            names & {"functools.cache", "functools.lru_cache"}
            and function.args.args
            and is_tool(source, function, project)
        ):
            yield source.found(
                function, "F10", "error", f"the tool {function.name} keeps what it answered one user for all others"
            )


RULES = (shared_state, drained_queues, counters, cached_tools)
