"""The modules of a project together: what its own classes and functions make, and which of them start runs."""

import ast
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from crewyard.doctor.names import FRAMEWORKS, MAKERS, kind_of
from crewyard.doctor.nodes import Function, keyword
from crewyard.doctor.source import Source

WEB = frozenset(
    {
        "fastapi",
        "flask",
        "starlette",
        "django",
        "aiohttp",
        "sanic",
        "quart",
        "tornado",
        "litestar",
        "chainlit",
        "celery",
        "streamlit",
        "gradio",
    }
)
TOOL_BASES = frozenset({"BaseTool", "StructuredTool"})


@dataclass(frozen=True)
class Made:
    """What an expression gives. kind: as names.kind_of says, or "holder" for an object that keeps such a thing."""

    kind: str
    name: str
    keeps: str = ""

    def __str__(self) -> str:
        return f"{self.name}, which keeps {self.keeps}" if self.keeps else self.name


class Project:
    """The modules of one project, judged together. preloaded: a server imports the application and then forks."""

    def __init__(self, sources: Iterable[Source], *, preloaded: bool = False) -> None:
        self.sources = list(sources)
        self.preloaded = preloaded
        self.classes: dict[str, tuple[Source, ast.ClassDef]] = {}
        self._functions: dict[str, list[tuple[Source, Function]]] = defaultdict(list)
        self._imports: dict[str, set[str]] = defaultdict(set)
        self.roots: set[str] = set()
        for source in self.sources:
            self._index(source)
        self.tools: dict[Source, set[Function]] = {}  # filled by roles.is_tool
        self._mentioned: dict[str, bool] = {}
        self._made: dict[ast.AST, Made | None] = {}
        self.agentic = bool(self.roots & FRAMEWORKS)
        self.service = bool(self.roots & WEB)

    def _index(self, source: Source) -> None:
        for klass in source.of(ast.ClassDef):
            self.classes.setdefault(klass.name, (source, klass))
        for function in source.definitions():
            self._functions[function.name].append((source, function))
        for name in source.imports.values():
            parts = name.lstrip(".").split(".")
            self.roots.add(parts[0])
            for part in parts:
                self._imports[part].add(source.path)

    def mentions(self, word: str) -> bool:
        """Whether a module that speaks of Celery has this word."""
        if word not in self._mentioned:
            self._mentioned[word] = any(word in source.text for source in self.sources if "celery" in source.text)
        return self._mentioned[word]

    @cached_property
    def flow_states(self) -> set[str]:
        """The project's classes that its flows name as their state: `class Review(Flow[State])`."""
        found = set()
        for source, klass in self.classes.values():
            for base in klass.bases:
                if isinstance(base, ast.Subscript) and kind_of(source.name(base.value)) == "flow":
                    found.add(source.name(base.slice).rsplit(".", 1)[-1])
        return found & set(self.classes)

    def is_imported(self, source: Source) -> bool:
        """Whether another module of the project imports this one, by the last part of its name."""
        return bool(self._imports.get(source.stem, set()) - {source.path})

    def made(self, source: Source, node: ast.AST | None) -> Made | None:
        """What belongs to one run and is made, or referred to, by this expression."""
        if node is None:
            return None
        if node not in self._made:
            self._made[node] = None  # what refers to itself makes nothing
            self._made[node] = self._make(source, node)
        return self._made[node]

    def _make(self, source: Source, node: ast.AST) -> Made | None:
        if isinstance(node, ast.Await):
            return self.made(source, node.value)
        if isinstance(node, ast.Call):
            return self._call(source, node)
        if isinstance(node, ast.Name | ast.Attribute):
            values = source.values(node)
            if not values and isinstance(node, ast.Name) and node.id in source.imports:
                return self._imported(source, node)
            return next((made for value in values if (made := self.made(source, value))), None)
        if isinstance(node, ast.BoolOp):
            return next((made for value in node.values if (made := self.made(source, value))), None)
        if isinstance(node, ast.List | ast.Tuple):
            return next((made for one in node.elts if (made := self.made(source, one))), None)
        if isinstance(node, ast.Dict):
            return next((made for one in node.values if (made := self.made(source, one))), None)
        if isinstance(node, ast.ListComp):
            return self.made(source, node.elt)
        if isinstance(node, ast.IfExp):
            return self.made(source, node.body) or self.made(source, node.orelse)
        return None

    def _call(self, source: Source, call: ast.Call) -> Made | None:
        name = source.name(call.func)
        if kind := kind_of(name):
            return Made(kind, name.rsplit(".", 2)[-2 if name.rsplit(".", 1)[-1] in MAKERS else -1])
        last = name.rsplit(".", 1)[-1]
        if name and ("." not in name or name in source.imports.values()):
            if last in self.classes and self._is_ours(source, name):
                return self._of_class(last)
            if found := self.function(source, name):
                return self.made_by(*found)
        if isinstance(call.func, ast.Attribute):
            return self._of_method(source, call.func)
        return None

    def _is_ours(self, source: Source, name: str) -> bool:
        """Whether a class that some module of the project defines is the one that this name means here."""
        where = self.classes[name.rsplit(".", 1)[-1]][0]
        return (
            where is source
            if "." not in name
            else where.stem in name.split(".")[:-1] or name.startswith(".") or name.split(".")[0] not in FRAMEWORKS
        )

    def function(self, source: Source, name: str) -> tuple[Source, Function] | None:
        """The project's function that a plain or imported name means."""
        found = self._functions.get(name.rsplit(".", 1)[-1], [])
        if "." not in name:
            return next((one for one in found if one[0] is source and not source.where[one[1]].klass), None)
        stem = name.split(".")[-2]
        free = [one for one in found if not one[0].where[one[1]].klass]
        exact = [one for one in free if one[0].stem == stem]
        alone = free if len(free) == 1 and name.split(".")[0] not in FRAMEWORKS else []
        return next(iter(exact or alone), None)

    def _imported(self, source: Source, node: ast.Name) -> Made | None:
        """What another module of the project has made at its import."""
        *modules, last = source.imports[node.id].split(".")
        for other in self.sources:
            if modules and other.stem == modules[-1] and other is not source:
                for value in other.bound.get((None, last), []):
                    if other.where[value].at_import and (made := self.made(other, value)):
                        return made
        return None

    def bases(self, name: str, depth: int = 0) -> set[str]:
        """The names of a project's class's bases, those of its project bases included."""
        if name not in self.classes or depth > 5:
            return set()
        source, klass = self.classes[name]
        found = {source.name(base.value if isinstance(base, ast.Subscript) else base) for base in klass.bases}
        for base in list(found):
            found |= self.bases(base.rsplit(".", 1)[-1], depth + 1) if base.rsplit(".", 1)[-1] != name else set()
        return found

    def _of_class(self, name: str) -> Made | None:
        for base in sorted(self.bases(name)):
            if base.rsplit(".", 1)[-1] in TOOL_BASES:
                return Made("tool", name)
            if kind := kind_of(base):
                return Made(kind, name)
        source, klass = self.classes[name]
        for (owner, attribute), values in source.attributes.items():
            if owner != klass.name:
                continue
            for value, where in values:
                made = self.made(source, value) if where.function and where.function.name == "__init__" else None  # type: ignore[union-attr]
                if made:
                    return Made("holder", name, f"{made.name} as self.{attribute}")
        return None

    def made_by(self, source: Source, function: Function) -> Made | None:
        """What a function of the project makes and returns."""
        if function in self._made:
            return self._made[function]
        self._made[function] = None
        returned = (one.value for one in source.inside(function) if isinstance(one, ast.Return) and one.value)
        found = next((made for value in returned for one in _parts(value) if (made := self.made(source, one))), None)
        self._made[function] = found
        return found

    def _of_method(self, source: Source, func: ast.Attribute) -> Made | None:
        owner = self.class_of(source, func.value)
        if not owner:
            return None
        where, klass = self.classes[owner]
        for one in klass.body:
            if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef) and one.name == func.attr:
                return self.made_by(where, one)
        return None

    def class_of(self, source: Source, node: ast.AST) -> str:
        """The project's class of an expression's value, "" if unknown."""
        if isinstance(node, ast.Name) and node.id == "self":
            klass = source.where[node].klass
            return klass.name if klass and klass.name in self.classes else ""
        values = [node] if isinstance(node, ast.Call) else source.values(node)
        for value in values:
            if isinstance(value, ast.Call):
                name = source.name(value.func).rsplit(".", 1)[-1]
                if name in self.classes:
                    return name
        return ""

    def module_level(self, source: Source, node: ast.AST) -> bool:
        """Whether a name is bound at import: in this module, or in the module it is imported from."""
        if not isinstance(node, ast.Name):
            return False
        if any((function, node.id) in source.bound for function in source.functions(node)):
            return False
        values = source.bound.get((None, node.id), [])
        if values:
            return any(source.where[value].at_import for value in values)
        return node.id in source.imports


def _parts(value: ast.expr) -> list[ast.expr]:
    return list(value.elts) if isinstance(value, ast.Tuple | ast.List) else [value]


def unbounded(call: ast.Call, name: str) -> bool:
    """Whether a keyword is absent or None."""
    value = keyword(call, name)
    return value is None or (isinstance(value, ast.Constant) and value.value is None)
