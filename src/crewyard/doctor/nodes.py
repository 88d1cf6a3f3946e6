"""Questions about a single node of a syntax tree."""

import ast

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


def keyword(call: ast.Call, name: str) -> ast.expr | None:
    """The value of a keyword argument."""
    return next((item.value for item in call.keywords if item.arg == name), None)


def constant(node: ast.AST | None) -> object:
    """The value of a literal, None for anything else."""
    return node.value if isinstance(node, ast.Constant) else None


def text(node: ast.AST | None) -> str:
    """The value of a literal string, "" for anything else."""
    value = constant(node)
    return value if isinstance(value, str) else ""


def is_true(node: ast.AST | None) -> bool:
    """Whether this is the literal True."""
    return constant(node) is True


def method(call: ast.Call) -> str:
    """The last part of what is called: "kickoff" in `crew.kickoff()`."""
    if isinstance(call.func, ast.Attribute):
        return call.func.attr
    return call.func.id if isinstance(call.func, ast.Name) else ""


def parameters(function: Function) -> list[str]:
    """The names of a function's parameters, without self and cls."""
    arguments = function.args
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return [one.arg for one in every if one.arg not in ("self", "cls")]


def names_in(node: ast.AST) -> set[str]:
    """Every plain name below a node."""
    return {one.id for one in ast.walk(node) if isinstance(one, ast.Name)}
