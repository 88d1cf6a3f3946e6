"""One parsed module: its scopes, what its names resolve to, and what was bound to them."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

from crewyard.doctor.findings import Finding, Severity
from crewyard.doctor.names import kind_of
from crewyard.doctor.nodes import Function

Node = TypeVar("Node", bound=ast.AST)
Definition = ast.FunctionDef | ast.AsyncFunctionDef
# What a walk has to look at, by exact types: most nodes are names, constants and calls.
RECORDED = frozenset(
    {
        ast.Import, ast.ImportFrom, ast.Global, ast.Assign, ast.AnnAssign, ast.NamedExpr, ast.For, ast.AsyncFor,
        ast.comprehension, ast.withitem,
    }
)  # fmt: skip
# Fields that hold texts, numbers and contexts in every node, and nodes that have no others: a walk meets a million.
PLAIN = frozenset({"ctx", "id", "attr", "arg", "module", "level", "kind", "type_comment"})
LEAVES = frozenset({ast.Name, ast.Constant, ast.alias})
SCOPES = frozenset({ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef, ast.If})


@dataclass(frozen=True, eq=False)
class Where:
    """The scope that a node stands in. main: below `if __name__ == "__main__"`."""

    function: Function | None = None
    klass: ast.ClassDef | None = None
    main: bool = False
    outer: "Where | None" = None

    @property
    def at_import(self) -> bool:
        """Whether what stands here runs when the module is imported."""
        return self.function is None and not self.main


class Source:
    """A module. path: as it is printed. Raises SyntaxError, ValueError or RecursionError if it does not parse."""

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self.text = text
        self.tree = ast.parse(text)
        self.stem = path.rsplit("/", 1)[-1].removesuffix(".py")
        if self.stem == "__init__" and "/" in path:
            self.stem = path.rsplit("/", 2)[-2]
        self.folder = path.split("/")[:-1]
        self.module = self.folder if path.endswith("__init__.py") else [*self.folder, self.stem]
        self.imports: dict[str, str] = {}
        self.stars: list[str] = []
        self.parents: dict[ast.AST, ast.AST] = {}
        self.where: dict[ast.AST, Where] = {}
        self.bound: dict[tuple[Function | None, str], list[ast.expr]] = defaultdict(list)
        self.attributes: dict[tuple[str, str], list[tuple[ast.expr, Where]]] = defaultdict(list)
        self._globals: set[tuple[Function | None, str]] = set()
        self._names: dict[ast.AST | None, str] = {}
        self._by_type: dict[type, list[ast.AST]] = defaultdict(list)
        self._walk()

    def of(self, *types: type[Node]) -> Iterator[Node]:
        """All nodes of these types, in the order of the source for each type."""
        for kind in types:
            yield from self._by_type[kind]  # type: ignore[misc]

    def definitions(self) -> Iterator[Definition]:
        """Every function and method that has a name."""
        yield from self.of(ast.FunctionDef)
        yield from self.of(ast.AsyncFunctionDef)

    def name(self, node: ast.AST | None) -> str:
        """The dotted name with imports resolved (`A` is "crewai.Agent"), "" for what is no name."""
        known = self._names.get(node)
        if known is None:
            known = self._names[node] = self._resolved(node)
        return known

    def _resolved(self, node: ast.AST | None) -> str:
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return ""
        parts.append(self.imports.get(node.id) or self._starred(node.id))
        return ".".join(reversed(parts))

    def function(self, node: ast.AST) -> Function | None:
        """The function that the node runs in, None at import level."""
        return self.where[node].function

    def functions(self, node: ast.AST) -> Iterator[Function]:
        """The function that the node runs in, and those around it."""
        place: Where | None = self.where[node]
        while place:
            if place.function:
                yield place.function
            place = place.outer

    def statement(self, node: ast.AST) -> ast.AST:
        """The statement that the node is a part of."""
        while not isinstance(node, ast.stmt) and node in self.parents:
            node = self.parents[node]
        return node

    def above(self, node: ast.AST) -> Iterator[ast.AST]:
        """The nodes around this one, up to its function."""
        while (node := self.parents.get(node)) is not None:  # type: ignore[assignment]
            yield node
            if isinstance(node, Function):
                return

    def inside(self, node: ast.AST) -> Iterator[ast.AST]:
        """The nodes of a function's or statement's own scope, without nested functions and classes."""
        body: list[ast.AST] = [node.body] if isinstance(node, ast.Lambda) else list(ast.iter_child_nodes(node))
        while body:
            child = body.pop()
            yield child
            if not isinstance(child, Function | ast.ClassDef):
                body.extend(ast.iter_child_nodes(child))

    def values(self, node: ast.AST) -> list[ast.expr]:
        """What was assigned to this name in its function or, if nothing there, in the module."""
        if isinstance(node, ast.Name):
            for function in (*self.functions(node), None):
                if found := self.bound.get((function, node.id)):
                    return found
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in ("self", "cls"):
            klass = self.where[node].klass
            return [value for value, _ in self.attributes.get((klass.name, node.attr), ())] if klass else []
        return []

    def found(self, node: ast.AST, rule: str, severity: Severity, seen: str, edit: str = "") -> Finding:
        """A finding at this node."""
        statement = self.statement(node)
        line = getattr(node, "lineno", 1)
        first = getattr(statement, "lineno", line)
        end = max(line, (getattr(statement, "end_lineno", None) or line) if _is_simple(statement) else line)
        return Finding(
            self.path, line, getattr(node, "col_offset", 0) + 1, rule, severity, seen, edit, min(first, line), end
        )

    def _starred(self, name: str) -> str:
        """A name that no import binds: of a `from crewai import *`, or the module's own."""
        return next((f"{module}.{name}" for module in self.stars if kind_of(f"{module}.{name}")), name)

    def _walk(self) -> None:
        stack: list[tuple[ast.AST, Where]] = [(self.tree, Where())]
        while stack:
            node, where = stack.pop()
            self.where[node] = where
            self._by_type[type(node)].append(node)
            if type(node) in LEAVES:
                continue
            if type(node) in RECORDED:
                self._record(node, where)
            inner = _inner(node, where) if type(node) in SCOPES else where
            children = []
            for name in node._fields:
                if name in PLAIN:
                    continue
                value = getattr(node, name, None)
                place = inner if name == "body" else where
                for child in value if isinstance(value, list) else (value,):
                    if isinstance(child, ast.AST):
                        self.parents[child] = node
                        children.append((child, place))
            stack.extend(reversed(children))

    def _record(self, node: ast.AST, where: Where) -> None:
        if isinstance(node, ast.Import | ast.ImportFrom):
            self._import(node)
        elif isinstance(node, ast.Global):
            self._globals |= {(where.function, name) for name in node.names}
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                self._bind(target, node.value, where)
        elif isinstance(node, ast.AnnAssign | ast.NamedExpr) and node.value:
            self._bind(node.target, node.value, where)
        elif isinstance(node, ast.For | ast.AsyncFor | ast.comprehension):
            self._bind(node.target, node.iter, where)
        elif isinstance(node, ast.withitem) and node.optional_vars:
            self._bind(node.optional_vars, node.context_expr, where)

    def _import(self, node: ast.Import | ast.ImportFrom) -> None:
        for item in node.names:
            if isinstance(node, ast.Import):
                first = item.name.split(".")[0]
                self.imports[item.asname or first] = item.name if item.asname else first
                continue
            module = "." * node.level + (node.module or "")
            self.imports[item.asname or item.name] = f"{module}.{item.name}"
            if item.name == "*":
                self.stars.append(module)

    def _bind(self, target: ast.expr, value: ast.expr, where: Where) -> None:
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts):
            for one, its in zip(target.elts, value.elts, strict=True):
                self._bind(one, its, where)
        elif isinstance(target, ast.Tuple):
            for one in target.elts:
                self._bind(one, value, where)
        elif isinstance(target, ast.Name):
            if where.klass and not where.function:
                self.attributes[where.klass.name, target.id].append((value, where))
            else:
                shared = (where.function, target.id) in self._globals
                self.bound[None if shared else where.function, target.id].append(value)
        elif isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and where.klass:
            if target.value.id not in ("self", "cls", where.klass.name):
                return
            self.attributes[where.klass.name, target.attr].append((value, where))


def _is_simple(node: ast.AST) -> bool:
    return not hasattr(node, "body")


def _inner(node: ast.AST, where: Where) -> Where:
    """The scope of a node's body."""
    if isinstance(node, Function):
        return Where(node, where.klass, where.main, where)
    if isinstance(node, ast.ClassDef):
        return Where(where.function, node, where.main, where.outer)
    if isinstance(node, ast.If) and _is_main(node.test):
        return Where(where.function, where.klass, True, where.outer)
    return where


def _is_main(test: ast.expr) -> bool:
    return isinstance(test, ast.Compare) and isinstance(test.left, ast.Name) and test.left.id == "__name__"
