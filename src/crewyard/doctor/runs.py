"""What starts a run of an agent, a crew or a team, directly or below."""

import ast

from crewyard.doctor.names import BLOCKING_STARTS, RUNNERS, STARTS, STARTS_OF_KNOWN, TASK_STARTS
from crewyard.doctor.nodes import Function, method
from crewyard.doctor.project import Project
from crewyard.doctor.source import Source

# They call what they are given, in a thread or a pool.
HANDS_OVER = frozenset({"to_thread", "run_in_executor", "run_in_threadpool", "run_sync", "submit", "map"})


def starts(project: Project, source: Source, call: ast.Call) -> bool:
    """Whether this call starts a run: a kickoff, a chat, the run of an agent or a team."""
    name = method(call)
    if any(is_start(handed) for handed in call.args):
        return True
    if name in STARTS:
        return isinstance(call.func, ast.Attribute) or "autogen" in source.name(call.func)
    if name in STARTS_OF_KNOWN and isinstance(call.func, ast.Attribute):
        made = project.made(source, call.func.value)
        return bool(made and made.kind in RUNNERS)
    if name in TASK_STARTS and isinstance(call.func, ast.Attribute):
        made = project.made(source, call.func.value)
        return bool(made and made.kind == "task")
    return False


def starts_below(project: Project, source: Source, function: Function, depth: int = 0) -> bool:
    """Whether a function starts a run: itself, in a thread, or by functions of the project that it calls."""
    for node in ast.walk(function):
        if not isinstance(node, ast.Call):
            continue
        if starts(project, source, node):
            return True
        for used in (node.func, *(node.args if method(node) in HANDS_OVER else ())) if depth < 3 else ():
            found = callee(project, source, used)
            if found and found[1] is not function and starts_below(project, *found, depth + 1):
                return True
    return False


def is_start(handed: ast.expr) -> bool:
    """Whether this is `crew.kickoff`, handed to what will call it."""
    return isinstance(handed, ast.Attribute) and handed.attr in STARTS


def blocks(project: Project, source: Source, function: Function, depth: int = 0) -> bool:
    """Whether a plain function waits for a run that it starts, itself or by plain functions that it calls."""
    for node in source.inside(function):
        if not isinstance(node, ast.Call):
            continue
        if method(node) in BLOCKING_STARTS | TASK_STARTS and starts(project, source, node):
            return True
        target = callee(project, source, node.func) if depth < 3 else None
        plain = target and target[1] is not function and not isinstance(target[1], ast.AsyncFunctionDef)
        if target and plain and blocks(project, *target, depth + 1):
            return True
    return False


def callee(project: Project, source: Source, func: ast.AST) -> tuple[Source, Function] | None:
    """The project's function or method that a name or `self.method` or `service.method` means."""
    if isinstance(func, ast.Name):
        return project.function(source, source.name(func))
    if isinstance(func, ast.Attribute):
        owner = project.class_of(source, func.value)
        if owner:
            where, klass = project.classes[owner]
            for one in klass.body:
                if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef) and one.name == func.attr:
                    return where, one
        elif source.name(func.value) in source.imports.values():
            return project.function(source, source.name(func))
    return None
