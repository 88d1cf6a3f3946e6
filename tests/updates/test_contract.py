"""The contract of the runtime: what a team has written for any release works on the head, unchanged.

Those scaling tests of the head that run a team's code judge the team's zone of every release and framework, once where
several are the same. `CONTRACT=all` has all scaling tests for each.
"""

import ast
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from conftest import Projects, sh
from mutants.copies import Case, copy_of, failures, scaling_tests
from packaging.version import Version
from updates.conftest import Make
from updates.looked_at import contents
from updates.releases import REPOSITORY, head, released
from updates.test_corpus import FIRST_WITH_AUTOGEN, FRAMEWORKS, answers

from crewyard import zones
from crewyard.__main__ import main

RUNTIME = "template/runtime/src/crewyard_runtime"
THEIRS = ("import", "runs", "concurrency", "startup")
OF_THE_OLDEST = (*THEIRS, "limits")
HOW = os.environ.get("CONTRACT", "some")
RELEASES = released()
COMBINATIONS = [
    (release, framework)
    for framework in FRAMEWORKS
    for release in (RELEASES if framework == "crewai" else RELEASES[RELEASES.index(FIRST_WITH_AUTOGEN) :])
]
# What of a project the scaling tests see.
SEEN = ("src/", "tests/scaling/", "runtime/", "platform.toml", "pyproject.toml")
Judge = Callable[[Path, str, str], list[Case]]


@pytest.fixture(scope="module")
def judge(projects: Projects, tmp_path_factory: pytest.TempPathFactory) -> Judge:
    """What the head's scaling tests say about a project, in the environment of the head's own; once for equal ones."""
    known: dict[tuple[str, ...], list[Case]] = {}

    def cases(project: Path, framework: str, release: str) -> list[Case]:
        installed = projects(framework)
        modules = _modules(installed, release)
        seen = (framework, _digest(project), *modules)
        if seen not in known:
            place = copy_of(project, tmp_path_factory.mktemp("judged") / "my-crew")
            shutil.copy(installed / "uv.lock", place)
            known[seen] = scaling_tests(place, installed, *(f"tests/scaling/test_{name}.py" for name in modules))
        return known[seen]

    return cases


def _modules(installed: Path, release: str) -> tuple[str, ...]:
    if HOW == "all":
        names = [path.stem.removeprefix("test_") for path in sorted((installed / "tests/scaling").glob("test_*.py"))]
        return tuple(name for name in names if name != "soak")
    return OF_THE_OLDEST if release == RELEASES[0] else THEIRS


def _digest(project: Path) -> str:
    digest = hashlib.sha256()
    for name, text in contents(project).items():
        if name.startswith(SEEN):
            digest.update(f"{name}\0{len(text)}\0".encode() + text)
    return digest.hexdigest()


def zone(project: Path) -> dict[str, bytes]:
    """The team's files."""
    return {name: text for name, text in contents(project).items() if zones.is_team(name)}


@pytest.mark.parametrize(("release", "framework"), COMBINATIONS)
def test_the_teams_code_of_a_release_passes_the_heads_scaling_tests(
    project_of: Make, projects: Projects, judge: Judge, release: str, framework: str
) -> None:
    project = project_of(release, **answers(release, framework))
    before = zone(project)
    assert main(["update", str(project), "--yes", "--no-lock"]) == 0
    assert before.items() <= zone(project).items()
    assert _entry_points(project) == _entry_points(projects(framework)), "it is found in an environment of the same"
    cases = judge(project, framework, release)
    assert failures(cases) == {}
    assert len([case for case in cases if case.ended == "passed"]) >= 20


def _entry_points(project: Path) -> list[str]:
    text = (project / "pyproject.toml").read_text("utf-8")
    return re.findall(r'^\[project\.entry-points\."crewyard\.applications"\]\n(?:.+\n)+', text, re.MULTILINE)


# The public surface, read from the sources.


@dataclass(frozen=True)
class Call:
    """The parameters of a function, by their names; in their order those that may be given by position."""

    positional: tuple[str, ...]
    required: frozenset[str]
    known: frozenset[str]


@dataclass
class Surface:
    """What a class or function shows to who uses it. attributes: fields, methods and what it sets of itself."""

    attributes: set[str] = field(default_factory=set)
    required: set[str] = field(default_factory=set)
    calls: dict[str, Call] = field(default_factory=dict)

    def broken_by(self, new: "Surface") -> list[str]:
        """What this had and the new one has not, and what the new one needs and this did not."""
        found = [f"{name} is gone" for name in sorted(self.attributes - new.attributes)]
        found += [f"{name} is required" for name in sorted(new.required - self.required)]
        for name, old in self.calls.items():
            if (call := new.calls.get(name)) is not None:
                found += [f"{name}() has no {gone}" for gone in sorted(old.known - call.known)]
                found += [f"{name}() requires {more}" for more in sorted(call.required - old.required)]
                if call.positional[: len(old.positional)] != old.positional:
                    found.append(f"{name}() takes {', '.join(call.positional)} in another order")
        return found


def surface(source: str, name: str) -> Surface:
    """The surface of a class, with what its bases in the same module give it, or of a function."""
    found = next(node for node in ast.parse(source).body if getattr(node, "name", None) == name)
    if isinstance(found, ast.FunctionDef | ast.AsyncFunctionDef):
        return Surface(calls={name: _call(found)})
    assert isinstance(found, ast.ClassDef), name
    shown = Surface()
    for base in found.bases:
        if isinstance(base, ast.Name) and re.search(rf"^class {base.id}\b", source, re.MULTILINE):
            inherited = surface(source, base.id)
            shown.attributes |= inherited.attributes
            shown.required |= inherited.required
            shown.calls |= inherited.calls
    for node in found.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            _add_field(shown, node.target.id, node)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            _add_method(shown, node)
    return shown


def _add_field(shown: Surface, name: str, node: ast.AnnAssign) -> None:
    if name.startswith("_") or "ClassVar" in ast.unparse(node.annotation):
        return
    shown.attributes.add(name)
    shown.required.discard(name)
    if not _has_default(node.value):
        shown.required.add(name)


def _has_default(value: ast.expr | None) -> bool:
    """Whether a field has one: a plain value, or what Field() or field() is given."""
    if not isinstance(value, ast.Call) or ast.unparse(value.func).rpartition(".")[2] not in ("Field", "field"):
        return value is not None and not _is_ellipsis(value)
    named = {word.arg: word.value for word in value.keywords}
    given = named.get("default", value.args[0] if value.args else named.get("default_factory"))
    return given is not None and not _is_ellipsis(given)


def _is_ellipsis(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and value.value is ...


def _add_method(shown: Surface, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
    if not node.name.startswith("_"):
        shown.attributes.add(node.name)
        shown.calls[node.name] = _call(node)
    for inner in ast.walk(node):
        if isinstance(inner, ast.Attribute) and isinstance(inner.ctx, ast.Store) and ast.unparse(inner.value) == "self":
            shown.attributes |= set() if inner.attr.startswith("_") else {inner.attr}


def _call(node: ast.FunctionDef | ast.AsyncFunctionDef) -> Call:
    taken = node.args
    positional = [each.arg for each in (*taken.posonlyargs, *taken.args) if each.arg not in ("self", "cls")]
    by_name = dict(zip([each.arg for each in taken.kwonlyargs], taken.kw_defaults, strict=True))
    required = positional[: max(len(positional) - len(taken.defaults), 0)]
    return Call(
        tuple(positional),
        frozenset(required + [name for name, default in by_name.items() if default is None]),
        frozenset([*positional, *by_name]),
    )


def exported(source: str) -> dict[str, str]:
    """Each name of a package's `__all__`, and the module that it comes from."""
    tree = ast.parse(source)
    listed = next(
        node.value for node in tree.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    )
    origins = {
        alias.asname or alias.name: node.module or ""
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    return {name: origins[name].partition(".")[2] for name in ast.literal_eval(listed)}


class Sources:
    """The runtime's modules of a release; of the working tree, if none is named."""

    def __init__(self, releases: Path, release: str | None = None) -> None:
        self._releases, self._release = releases, release

    def read(self, module: str) -> str:
        """The source of a module or package, named without `crewyard_runtime.`."""
        path = module.replace(".", "/")
        for name in (f"{path}.py", f"{path}/__init__.py".lstrip("/")):
            if (source := self._read(name)) is not None:
                return source
        msg = f"{self._release or 'the head'} has no module {module}"
        raise LookupError(msg)

    def _read(self, name: str) -> str | None:
        if self._release is None:
            path = REPOSITORY / RUNTIME / name
            return path.read_text("utf-8") if path.is_file() else None
        shown = sh(self._releases, "git", "show", f"{self._release}:{RUNTIME}/{name}", check=False)
        return shown.stdout if shown.returncode == 0 else None


@pytest.mark.parametrize("release", RELEASES)
def test_all_that_a_release_let_teams_import_is_there_and_needs_no_more(releases: Path, release: str) -> None:
    then, now = Sources(releases, release), Sources(releases)
    before, after = exported(then.read("")), exported(now.read(""))
    assert before.keys() <= after.keys()
    broken = {
        name: surface(then.read(module), name).broken_by(surface(now.read(after[name]), name))
        for name, module in before.items()
    }
    assert broken == {name: [] for name in before}


def test_what_is_compared_is_all_that_a_team_uses(releases: Path) -> None:
    source = Sources(releases, RELEASES[0])
    run = surface(source.read("context"), "RunContext")
    assert run.attributes >= {"id", "input", "workspace", "llm", "http", "memory", "log", "emit", "current", "usage"}
    assert "limits" in run.required
    assert "role" in run.calls["llm"].required
    assert not surface(source.read("limits"), "RunLimits").required
    assert surface(source.read("application"), "Application").required >= {"name", "input", "output", "build"}


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("settings", ["RuntimeSettings", "ServiceSettings"])
def test_settings_that_a_release_did_not_have_have_defaults(releases: Path, release: str, settings: str) -> None:
    before = surface(Sources(releases, release).read("settings"), settings)
    after = surface(Sources(releases).read("settings"), settings)
    assert len(before.attributes) > 10
    assert after.required <= before.required
    assert before.attributes <= after.attributes


@pytest.mark.parametrize(
    ("new", "said"),
    [
        ("a: int\n b: int = 1\n def do(self, x, *, y=1): ...", []),
        ("a: int = 1\n b: int = 1\n c: int = Field(default=1)\n def do(self, x=1, z=2, *, y=1, **more): ...", []),
        ("a: int\n def do(self, x, *, y=1): ...", ["b is gone"]),
        ("a: int\n b: int = 1", ["do is gone"]),
        ("a: int\n b: int\n def do(self, x, *, y=1): ...", ["b is required"]),
        ("a: int\n b: int = Field(description='b')\n def do(self, x, *, y=1): ...", ["b is required"]),
        ("a: int\n b: int = Field(..., ge=1)\n def do(self, x, *, y=1): ...", ["b is required"]),
        ("a: int\n b: int = 1\n c: str = field(repr=False)\n def do(self, x, *, y=1): ...", ["c is required"]),
        ("a: int\n b: int = 1\n def do(self, x): ...", ["do() has no y"]),
        ("a: int\n b: int = 1\n def do(self, x, z, *, y=1): ...", ["do() requires z"]),
        ("a: int\n b: int = 1\n def do(self, x, *, y): ...", ["do() requires y"]),
        ("a: int\n b: int = 1\n def do(self, z=1, x=1, *, y=1): ...", ["do() takes z, x in another order"]),
    ],
)
def test_what_would_break_a_team_is_seen(new: str, said: list[str]) -> None:
    old = surface("class C:\n a: int\n b: int = 1\n def do(self, x, *, y=1): ...", "C")
    assert old.broken_by(surface(f"class C:\n {new}", "C")) == said


def test_what_a_base_gives_counts() -> None:
    source = "class B:\n a: int\n b: int\nclass C(B):\n b: int = 1\n def __init__(self): self.c = self._d = 1"
    shown = surface(source, "C")
    assert (shown.attributes, shown.required) == ({"a", "b", "c"}, {"a"})


# Warnings of what will go.

CATEGORY = "DeprecationWarning"
RELEASE = re.compile(r"\b(\d+\.\d+\.\d+) removes\b")
EDIT = re.compile(r"\b(?:call|delete|give|import|rename|set|use|write)\b[^.]*`[^`]+`", re.IGNORECASE)


def vague(source: str, current: str) -> list[str]:
    """Each deprecation of a module that does not tell the release that removes something, or the edit to make.

    current: the release that this source is of; what it or an older one removes should be gone.
    """
    tree = ast.parse(source)
    categories = {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and _is_category(node.bases)}
    return [
        f"line {call.lineno}: {problem}"
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and _is_deprecation(call, categories)
        for problem in _problems(call, tree, current)
    ]


def _is_category(nodes: list[ast.expr], own: Collection[str] = ()) -> bool:
    names = [ast.unparse(node.func if isinstance(node, ast.Call) else node) for node in nodes]
    return any(name.endswith(CATEGORY) or name in own for name in names)


def _is_deprecation(call: ast.Call, own: set[str]) -> bool:
    name = ast.unparse(call.func).rpartition(".")[2]
    given = [*call.args, *(word.value for word in call.keywords)]
    return name == "deprecated" or (name in ("warn", "warn_explicit") and _is_category(given, own))


def _problems(call: ast.Call, tree: ast.Module, current: str) -> Iterator[str]:
    message = _text(call.args[0] if call.args else None, tree, call.lineno)
    named = RELEASE.search(message)
    if named is None:
        yield "it names no release, as in `0.9.0 removes it`"
    elif Version(named[1]) <= Version(current):
        yield f"{named[1]} should have removed it"
    if not EDIT.search(message):
        yield "it names no edit to make, as in `write `run.llm``"
    levels = [ast.unparse(word.value) for word in call.keywords if word.arg == "stacklevel"]
    if ast.unparse(call.func).endswith("warn") and levels in ([], ["1"]):
        yield "it tells a line of the runtime and not the team's: give a stacklevel"


def _text(node: ast.expr | None, tree: ast.Module, line: int) -> str:
    """The text of a message, also of one that was put together or has a name; empty if it cannot be read."""
    if isinstance(node, ast.Name):
        values = [
            each.value
            for each in ast.walk(tree)
            if isinstance(each, ast.Assign) and ast.unparse(each.targets[0]) == node.id and each.lineno <= line
        ]
        return _text(max(values, key=lambda value: value.lineno), tree, line) if values else ""
    if isinstance(node, ast.Call):
        return _text(node.args[0] if node.args else None, tree, line)
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "x" for part in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


@pytest.mark.parametrize("path", sorted((REPOSITORY / RUNTIME).rglob("*.py")), ids=lambda path: path.stem)
def test_deprecations_of_the_runtime_are_named_and_dated(path: Path) -> None:
    assert vague(path.read_text("utf-8"), head()) == []


GOOD = "`run.chat` is old and 0.9.0 removes it: write `run.llm`."


@pytest.mark.parametrize(
    ("source", "problems"),
    [
        (f"warnings.warn({GOOD!r}, DeprecationWarning, stacklevel=2)", 0),
        (f"msg = {GOOD!r}\nwarn(msg, category=DeprecationWarning, stacklevel=3)", 0),
        (f"warnings.warn(DeprecationWarning({GOOD!r}), stacklevel=2)", 0),
        ("warnings.warn(f'{name}: 0.9.0 removes it. Use `{other}`.', DeprecationWarning, stacklevel=2)", 0),
        (f"@deprecated({GOOD!r})\ndef chat(): ...", 0),
        ("warnings.simplefilter('ignore', DeprecationWarning)", 0),
        ("warnings.warn('slow', RuntimeWarning)", 0),
        ("warnings.warn('`run.chat` is old: write `run.llm`.', DeprecationWarning, stacklevel=2)", 1),
        ("warnings.warn('`run.chat` is old, and 0.9.0 removes it.', DeprecationWarning, stacklevel=2)", 1),
        (f"warnings.warn({GOOD.replace('0.9.0', '0.7.0')!r}, DeprecationWarning, stacklevel=2)", 1),
        (f"warnings.warn({GOOD!r}, DeprecationWarning)", 1),
        (f"warnings.warn({GOOD!r}, PendingDeprecationWarning, stacklevel=1)", 1),
        ("warnings.warn(told(), DeprecationWarning, stacklevel=2)", 2),
        ("class Old(DeprecationWarning): ...\nwarnings.warn('old', Old, stacklevel=2)", 2),
        ("@typing_extensions.deprecated('old')\nclass Chat: ...", 2),
    ],
)
def test_a_vague_deprecation_is_seen(source: str, problems: int) -> None:
    assert len(vague(source, "0.7.0")) == problems
