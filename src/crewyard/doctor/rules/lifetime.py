"""F01: what should be made for one run and is made for the life of the process."""

import ast
from collections.abc import Iterator

from crewyard.doctor.findings import Finding
from crewyard.doctor.names import SDK_CLIENTS
from crewyard.doctor.nodes import Function
from crewyard.doctor.project import Made, Project
from crewyard.doctor.roles import is_crew_class, is_script, is_streamlit_page
from crewyard.doctor.source import Source

CACHES = frozenset({"functools.cache", "functools.lru_cache", "streamlit.cache_resource", "cachetools.func.lru_cache"})
# They keep nothing of a run: a function, and the clients whose makers advise to make one for all threads.
STATELESS = frozenset({"FunctionTool", *SDK_CLIENTS["openai"], *SDK_CLIENTS["anthropic"], *SDK_CLIENTS["groq"]})


def made_at_import(source: Source, project: Project) -> Iterator[Finding]:
    """An agent, crew, client, ... in the body of a module or class, in a default argument or a decorator."""
    if is_streamlit_page(source):
        return
    script = is_script(source, project)
    covered: set[ast.AST] = set()
    for call in sorted(source.of(ast.Call), key=lambda one: (one.lineno, one.col_offset)):
        if not source.where[call].at_import or source.statement(call) in covered:
            continue
        made = project.made(source, call)
        if made and not _is_read(source, call) and not project.hands_out(source, call):
            if not isinstance(
                statement := source.statement(call), ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
            ):
                covered.add(statement)
            certain = made.name not in STATELESS and not script
            yield source.found(
                call, "F01", "error" if certain else "hint", f"{_article(made)} is made {_place(source, call)}"
            )


def _is_read(source: Source, call: ast.Call) -> bool:
    """Whether the call asks `self` for what it has, or drops what it made when it has asked for its description."""
    above = source.parents.get(call)
    if isinstance(above, ast.Attribute) and above.attr in ("dump_component", "model_dump"):
        return True
    return (
        isinstance(call.func, ast.Attribute)
        and isinstance(call.func.value, ast.Name)
        and call.func.value.id in ("self", "cls")
    )


def _place(source: Source, call: ast.Call) -> str:
    return f"in the body of class {klass.name}" if (klass := source.where[call].klass) else "at import"


def _article(made: Made) -> str:
    return f"{made.kind} {made.name}" if made.kind != "holder" else f"{made}:"


def cached(source: Source, project: Project) -> Iterator[Finding]:
    """A function that makes an agent, crew, client, ... and keeps it in a cache."""
    for function in source.definitions():
        decorators = [one.func if isinstance(one, ast.Call) else one for one in function.decorator_list]
        cache = next((name for one in decorators if (name := source.name(one)) in CACHES), "")
        if not cache:
            continue
        made = project.made_by(source, function)
        if made:
            yield source.found(
                function,
                "F01",
                "error",
                f"{cache.rsplit('.', 1)[-1]} keeps the {made.kind} {made.name} that {function.name} makes",
            )


def singletons(source: Source, project: Project) -> Iterator[Finding]:
    """What a function makes once and leaves on its module or class."""
    shared = {(source.function(node), name) for node in source.of(ast.Global) for name in node.names}
    for node in source.of(ast.Assign):
        function = source.function(node)
        if function is None:
            continue
        names = {name for owner, name in shared if owner is function}
        for target in node.targets:
            if (kept := _kept(source, project, function, target, names)) and (
                made := _made_here(source, project, node.value)
            ):
                yield source.found(node, "F01", "error", f"{made.kind} {made.name} is made once and kept {kept}")


def _made_here(source: Source, project: Project, value: ast.expr) -> Made | None:
    if isinstance(value, ast.Await):
        value = value.value
    return project.made(source, value) if isinstance(value, ast.Call) else None


def _kept(source: Source, project: Project, function: Function, target: ast.expr, shared: set[str]) -> str:
    if isinstance(target, ast.Name) and target.id in shared:
        return f"as the global {target.id}"
    if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name):
        owner = target.value.id
        if owner == "cls" and getattr(function, "name", "") != "__init_subclass__":
            return f"on the class as {target.attr}"
        if owner in project.classes and (None, owner) not in source.bound:
            return f"on the class {owner} as {target.attr}"
    return ""


def crew_classes(source: Source, project: Project) -> Iterator[Finding]:
    """A class with @CrewBase: CrewAI keeps what its @agent and @task methods made under the instance's id, for ever."""
    for klass in source.of(ast.ClassDef):
        if is_crew_class(source, klass):
            yield source.found(
                klass,
                "F01",
                "hint",
                f"@CrewBase keeps what the @agent and @task methods of {klass.name} make for the life of the process",
                "in a service that lives long build agents and tasks in a function, once a run",
            )


RULES = (made_at_import, cached, singletons, crew_classes)
