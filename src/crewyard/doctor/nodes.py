"""Questions about a single node of a syntax tree."""

import ast

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


def keyword(call: ast.Call, name: str) -> ast.expr | None:
    """The value of a keyword argument."""
    for item in call.keywords:  # asked for each call by most rules: a generator costs twice as much
        if item.arg == name:
            return item.value
    return None


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
    called: str = getattr(call.func, "attr", "") or getattr(call.func, "id", "")
    return called


def parameters(function: Function) -> list[str]:
    """The names of a function's parameters, without self and cls."""
    arguments = function.args
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return [one.arg for one in every if one.arg not in ("self", "cls")]


def names_in(node: ast.AST) -> set[str]:
    """Every plain name below a node."""
    return {one.id for one in ast.walk(node) if isinstance(one, ast.Name)}
