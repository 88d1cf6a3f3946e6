"""The modules of a project together: what its own classes and functions make, and which of them start runs."""

import ast
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from crewyard.doctor.names import FRAMEWORKS, MAKERS, kind_of
from crewyard.doctor.nodes import Function, keyword
from crewyard.doctor.source import Source

BOTS = frozenset({"telegram", "discord", "telebot", "aiogram", "slack_bolt", "botbuilder"})
# What serves several users at once: the web, bots and queues.
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
        "channels",
        "uvicorn",
        "mcp",
        "fastmcp",
        "socketio",
        "bottle",
        "dramatiq",
        "rq",
        "arq",
        *BOTS,
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
        self._modules: dict[str, list[Source]] = defaultdict(list)
        self.roots: set[str] = set()
        for source in self.sources:
            self._index(source)
        self.tools: set[Function] | None = None  # filled by roles.is_tool
        self._found: dict[tuple[tuple[str, ...], str, bool], Source | None] = {}
        self.containers: dict[Source, set[str]] = {}  # filled by rules.state
        self.served: dict[Function, str] | None = None  # filled by rules.sharing
        self._mentioned: dict[str, bool] = {}
        self._made: dict[ast.AST, Made | None] = {}
        self.agentic = bool(self.roots & FRAMEWORKS)
        self.service = bool(self.roots & WEB)

    def _index(self, source: Source) -> None:
        for klass in source.of(ast.ClassDef):
            self.classes.setdefault(klass.name, (source, klass))
        for function in source.definitions():
            self._functions[function.name].append((source, function))
        self._modules[source.stem].append(source)
        self.roots |= {name.lstrip(".").split(".")[0] for name in source.imports.values()}

    def mentions(self, word: str) -> bool:
        """Whether a module that speaks of Celery has this word."""
        if word not in self._mentioned:
            self._mentioned[word] = any(word in source.text for source in self.sources if "celery" in source.text)
        return self._mentioned[word]

    def several_loops(self, source: Source) -> bool:
        """Whether one event loop after another may use what a module holds: asyncio.run in a function, or Celery."""
        return "celery" in self.roots or any(
            source.name(call.func) == "asyncio.run" and source.function(call) is not None
            for call in source.of(ast.Call)
        )

    @cached_property
    def flow_states(self) -> set[str]:
        """The project's classes that its flows name as their state: `class Review(Flow[State])`."""
        found = set()
        for source, klass in self.classes.values():
            for base in klass.bases:
                if isinstance(base, ast.Subscript) and kind_of(source.name(base.value)) == "flow":
                    found.add(source.name(base.slice).rsplit(".", 1)[-1])
        return found & set(self.classes)

    def module(self, source: Source, dotted: str) -> Source | None:
        """The project's module that a dotted name means where it is imported."""
        loose = "sys.path" in source.text
        key = (tuple(source.folder), dotted, loose)
        if key not in self._found:
            self._found[key] = self._module(source.folder, dotted.lstrip("."), loose=loose)
        found = self._found[key]
        return found if found is not source else None

    def _module(self, here: list[str], name: str, *, loose: bool) -> Source | None:
        """loose: whether the module that imports has changed the path that is searched."""
        parts = name.split(".")
        found: list[tuple[int, Source]] = []
        for one in self._modules.get(parts[-1], ()) if name else ():
            there = one.module
            if not (there[-len(parts) :] == parts or parts[-len(there) :] == there):
                continue
            found.append((_shared(there, here), one))
        above = [pair for pair in found if pair[0] >= len(pair[1].module) - len(parts)]
        if not above and len(parts) == 1 and not loose:
            return None  # `import agents`, and none of that name beside or above: it is another package
        return max(above or found, key=lambda pair: pair[0], default=(0, None))[1]

    @cached_property
    def _imported_sources(self) -> set[Source]:
        found: set[Source | None] = set()
        for source in self.sources:
            for name in set(source.imports.values()):
                found |= {self.module(source, name), self.module(source, name.rpartition(".")[0])}
        return {one for one in found if one}

    def is_imported(self, source: Source) -> bool:
        """Whether another module of the project imports this one."""
        return source in self._imported_sources

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
        module = self.module(source, name.rpartition(".")[0])
        free = [one for one in found if not one[0].where[one[1]].klass]
        exact = [one for one in free if one[0] is module]
        alone = free if len(free) == 1 and name.split(".")[0] not in FRAMEWORKS else []
        return next(iter(exact or alone), None)

    def _imported(self, source: Source, node: ast.Name) -> Made | None:
        """What another module of the project has made at its import."""
        module, _, last = source.imports[node.id].rpartition(".")
        other = self.module(source, module)
        values = other.bound.get((None, last), []) if other else []
        return next((made for value in values if other and (made := self.made(other, value))), None)

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

    def hands_out(self, source: Source, node: ast.AST) -> bool:
        """Whether a call of a project's function gives what a module holds: `get_team()` of a team made at import."""
        if not isinstance(node, ast.Call):
            return False
        found = self.function(source, source.name(node.func)) if source.name(node.func) else None
        if not found:
            return False
        where, function = found
        given = [one.value for one in where.inside(function) if isinstance(one, ast.Return) and one.value]
        return bool(given) and all(self.module_level(where, one) for one in given)

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


def _shared(one: list[str], other: list[str]) -> int:
    """How many directories two places have in common, from the top."""
    return next(
        (number for number, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )


def _parts(value: ast.expr) -> list[ast.expr]:
    return list(value.elts) if isinstance(value, ast.Tuple | ast.List) else [value]


def unbounded(call: ast.Call, name: str) -> bool:
    """Whether a keyword is absent or None."""
    value = keyword(call, name)
    return value is None or (isinstance(value, ast.Constant) and value.value is None)
