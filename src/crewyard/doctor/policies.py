"""P01 to P05: what a company demands of its projects (docs/standards.md). No comment accepts a breach."""

import ast
import os
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from crewyard.doctor.files import Tree, managed_in, shown
from crewyard.doctor.findings import Finding
from crewyard.doctor.source import Source
from crewyard.errors import NotPossible
from crewyard.standards import STANDARDS, Standards

PROVIDERS = "anthropic|azure|bedrock|cohere|deepseek|gemini|groq|mistral|ollama|openai|openrouter|vertex_ai|watsonx|xai"
MODEL = re.compile(rf"({PROVIDERS})/[A-Za-z0-9][\w.:/@-]*")
# Models that clients of one provider take by their bare names.
BARE = {"gpt-": "openai", "chatgpt-": "openai", "o1": "openai", "o3": "openai", "o4": "openai", "claude-": "anthropic"}
MODEL_ARGUMENTS = ("llm", "model", "model_id", "model_name")
PLATFORM, PYPROJECT, LOCK = "platform.toml", "pyproject.toml", "uv.lock"
UNITS = {"second": 1, "minute": 60, "hour": 3_600, "day": 86_400, "week": 604_800}
DURATION = re.compile(rf"\s*(\d+)\s*({'|'.join(UNITS)})s?\s*", re.IGNORECASE)
ISO_DURATION = re.compile(r"P(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?")


def findings(tree: Tree, members: list[tuple[Path, Source]]) -> Iterator[Finding]:
    """Every breach, in each directory with standards: the nearest above, the tree's own, those below."""
    below = {path.parent for path in tree.names if path.name == STANDARDS}
    above = next((place for place in (tree.root, *tree.root.parents) if (place / STANDARDS).is_file()), None)
    for root in sorted(below | ({above} if above else set())):
        own = [source for path, source in members if _is_the_teams(path, root)]
        yield from _Policies(root, tree, own).findings()


class _Policies:
    """Those of one project, in `root`. sources: the team's Python files that are read now."""

    def __init__(self, root: Path, tree: Tree, sources: list[Source]) -> None:
        self._root = root
        self._tree = tree
        self._sources = sources
        self._checks: dict[str, Callable[[Any], Iterator[Finding]]] = {
            "models": self._models,
            "providers": self._providers,
            "required_guardrails": self._guardrails,
            "minimum_cooldown": self._cooldown,
            "forbidden_packages": self._packages,
        }

    def findings(self) -> Iterator[Finding]:
        """Every breach. A policy that nobody can hold, because it cannot be read, is one too."""
        try:
            demanded = Standards.read(self._root).policies
        except NotPossible as error:
            yield self._found(STANDARDS, 1, "P00", str(error))
            return
        for column, (name, value) in enumerate(demanded.items(), 1):
            if name not in self._checks:
                known = ", ".join(self._checks)
                yield self._found(STANDARDS, 1, "P00", f"there is no policy {name!r}; there is {known}", column)
                continue
            try:
                yield from self._checks[name](value)
            except (TypeError, ValueError, AttributeError):
                yield self._found(STANDARDS, 1, "P00", f"the policy {name} cannot be {value!r}", column)

    def _models(self, allowed: list[str]) -> Iterator[Finding]:
        for path, line, column, model in self._named_models():
            if not any(fnmatchcase(model, pattern) for pattern in _texts(allowed)):
                yield self._found(path, line, "P01", f"the model {model} is none of {', '.join(allowed)}", column)

    def _providers(self, allowed: list[str]) -> Iterator[Finding]:
        for path, line, column, model in self._named_models():
            if model.partition("/")[0] not in _texts(allowed):
                seen = f"the provider of {model} is none of {', '.join(allowed)}"
                yield self._found(path, line, "P02", seen, column)

    def _named_models(self) -> Iterator[tuple[str, int, int, str]]:
        """Each model that a file of the team's names, or an answer: its path, line, column, provider/model."""
        for source in self._sources:
            yield from ((source.path, line, column, model) for line, column, model in _in_python(source.tree))
        for path in (self._root / PLATFORM, *self._tree.data):
            inside = _is_the_teams(path, self._root)
            if path.is_file() and (path.name == PLATFORM or (inside and path.suffix in (".yaml", ".yml"))):
                text = path.read_text("utf-8", errors="replace")
                name = shown(path, self._tree.root) if inside and path in self._tree.names else self._shown(path.name)
                yield from ((name, line, column, model) for line, column, model in _in_lines(text))

    def _guardrails(self, required: list[str]) -> Iterator[Finding]:
        used = {name for source in self._sources for name in _used(source.tree)}
        if missing := [name for name in _texts(required) if name not in used]:
            yield self._found(PYPROJECT, 1, "P03", f"no code uses the guardrail {', nor '.join(missing)}")

    def _cooldown(self, least: str) -> Iterator[Finding]:
        demanded = _duration(least)
        policy = self._toml(PYPROJECT).get("tool", {}).get("uv", {})
        given = policy.get("exclude-newer")
        if given is None or _age(given) < demanded:
            seen = f"exclude-newer is {given}" if given else "there is no exclude-newer"
            yield self._found(
                PYPROJECT, self._line("exclude-newer"), "P04", f"{seen}, and at least {least} is demanded"
            )
        for name, own in policy.get("exclude-newer-package", {}).items():
            if own is False or _age(own) < demanded:
                line = self._line("exclude-newer-package")
                yield self._found(PYPROJECT, line, "P04", f"{name} is taken sooner than {least} after its release")

    def _packages(self, forbidden: list[str]) -> Iterator[Finding]:
        names = {canonicalize_name(name) for name in _texts(forbidden)}
        content = self._toml(PYPROJECT)
        project = content.get("project", {})
        groups = [*project.get("optional-dependencies", {}).values(), *content.get("dependency-groups", {}).values()]
        asked = {one for each in [project.get("dependencies", []), *groups] for one in each if isinstance(one, str)}
        named = {one: canonicalize_name(re.split(r"[\s\[<>=!~;@]", one)[0]) for one in sorted(asked)}
        for one, name in named.items():
            if name in names:
                yield self._found(PYPROJECT, self._line(one), "P05", f"{one} is forbidden")
        locked = {one["name"]: one.get("version", "") for one in self._toml(LOCK).get("package", [])}
        for column, (name, version) in enumerate(sorted(locked.items()), 1):
            if name in names - set(named.values()):
                yield self._found(LOCK, 1, "P05", f"{name} {version} is forbidden, and something asks for it", column)

    def _toml(self, name: str) -> dict[str, Any]:
        try:
            return tomllib.loads((self._root / name).read_text("utf-8"))
        except (OSError, ValueError):
            return {}

    def _line(self, text: str) -> int:
        """The line of pyproject.toml that holds a text; the first if none does."""
        try:
            lines = (self._root / PYPROJECT).read_text("utf-8").splitlines()
        except (OSError, ValueError):
            return 1
        return next((number for number, line in enumerate(lines, 1) if text in line), 1)

    def _found(self, path: str, line: int, rule: str, seen: str, column: int = 1) -> Finding:
        name = self._shown(path) if path in (LOCK, PYPROJECT, STANDARDS) else path
        return Finding(name, line, column, rule, "error", seen, "", line, line)

    def _shown(self, name: str) -> str:
        """A file of the project's own directory, which may be above what is read."""
        path = self._root / name
        return shown(path, self._tree.root) if self._root.is_relative_to(self._tree.root) else os.path.relpath(path)


def _is_the_teams(path: Path, root: Path) -> bool:
    managed = (managed_in(place) for place in path.parents if place.is_relative_to(root))
    return path.is_relative_to(root) and not any(one and path.is_relative_to(one) for one in managed)


def _in_python(tree: ast.AST) -> Iterator[tuple[int, int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and MODEL.fullmatch(node.value):
            yield node.lineno, node.col_offset + 1, node.value
        elif isinstance(node, ast.keyword) and node.arg in MODEL_ARGUMENTS and isinstance(node.value, ast.Constant):
            name = node.value.value
            for start, provider in BARE.items():
                if isinstance(name, str) and name.startswith(start):
                    yield node.value.lineno, node.value.col_offset + 1, f"{provider}/{name}"


def _in_lines(text: str) -> Iterator[tuple[int, int, str]]:
    for number, line in enumerate(text.splitlines(), 1):
        value = re.split(r"[:=]\s", line, maxsplit=1)[-1].partition(" #")[0].strip().strip("\"'")
        if MODEL.fullmatch(value):
            yield number, line.index(value) + 1, value


def _used(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            yield node.attr


def _texts(value: Iterable[Any]) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise TypeError
    return value


def _duration(text: str) -> timedelta:
    """What uv takes for one: "3 days", "P3D". Raises ValueError."""
    if (spoken := DURATION.fullmatch(text)) is not None:
        return timedelta(seconds=int(spoken[1]) * UNITS[spoken[2].lower()])
    if (iso := ISO_DURATION.fullmatch(text)) is not None and any(iso.groups()):
        weeks, days, hours, minutes, seconds = (int(part or 0) for part in iso.groups())
        return timedelta(weeks=weeks, days=days, hours=hours, minutes=minutes, seconds=seconds)
    raise ValueError(text)


def _age(value: object) -> timedelta:
    """How old a package is at least: by a duration, or since a day or a moment."""
    try:
        return _duration(str(value))
    except ValueError:
        pass
    moment = value if isinstance(value, date) else datetime.fromisoformat(str(value).replace("Z", "+00:00"))
    if not isinstance(moment, datetime):
        moment = datetime(moment.year, moment.month, moment.day)
    return datetime.now(UTC) - (moment if moment.tzinfo else moment.replace(tzinfo=UTC))
