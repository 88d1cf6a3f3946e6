"""F03 and F04: where a variable of the environment is read."""

import ast
import re
from collections.abc import Iterator

from crewyard.doctor.findings import Finding
from crewyard.doctor.nodes import names_in, text
from crewyard.doctor.project import Project
from crewyard.doctor.roles import is_entry, is_lifespan, is_script, is_startup, is_streamlit_page, is_tool, serving
from crewyard.doctor.source import Source

GETTERS = frozenset({"os.getenv", "os.environ.get", "decouple.config", "os.environ.__getitem__"})
HEADER = re.compile(r"^(x-.*key|authorization|api[_-]?key)$", re.IGNORECASE)
LOOKS = ("os.getenv", "os.environ.get", "os.environ.setdefault")
AUTOGEN_CONFIGURATION = (
    ".config_list_from_json",
    ".config_list_from_dotenv",
    ".config_list_openai_aoai",
    ".LLMConfig.from_json",
)
REQUIRED = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD|URL|URI|ENDPOINT|DSN|_ID|HOST)$")
OF_THE_SYSTEM = frozenset(
    {
        "APPDATA", "CI", "DISPLAY", "HOME", "LANG", "LOCALAPPDATA", "PATH", "PWD", "PYTHONPATH", "SHELL", "TEMP",
        "TERM", "TMP", "TMPDIR", "USER", "USERNAME", "USERPROFILE", "XDG_CONFIG_HOME",
    }
)  # fmt: skip
OWN_PLACE = frozenset({"gunicorn_conf", "gunicorn.conf", "manage", "wsgi", "asgi", "setup", "noxfile"})


def at_import(source: Source, project: Project) -> Iterator[Finding]:
    """A variable that is read, or settings that are made, when the module is imported."""
    if source.stem in OWN_PLACE or is_streamlit_page(source):
        return
    started = is_entry(source, project)
    seen: set[int] = set()
    for node in source.of(ast.Call, ast.Subscript):
        if not source.where[node].at_import or not (what := _read(source, project, node)) or node.lineno in seen:
            continue
        seen.add(node.lineno)
        yield source.found(node, "F04", "hint" if started else "error", f"{what} at import")
    for call in source.of(ast.Call):
        if source.where[call].at_import and source.name(call.func).endswith(AUTOGEN_CONFIGURATION):
            yield source.found(
                call, "F04", "hint", "the list of models is read from the environment or a file at import"
            )
    if not project.is_imported(source):
        return  # load_dotenv() stands where the process starts
    for call in source.of(ast.Call):
        if source.where[call].at_import and source.name(call.func) == "dotenv.load_dotenv":
            yield source.found(
                call,
                "F04",
                "hint",
                "load_dotenv() changes the environment at import",
                "call it where the process starts",
            )
            return


def _read(source: Source, project: Project, node: ast.AST) -> str:
    if isinstance(node, ast.Subscript):
        variable = _variable(source, node.slice)
        is_read = isinstance(node.ctx, ast.Load) and _is_environment(source, node.value)
        return f"the environment's {variable} is read" if is_read and variable not in OF_THE_SYSTEM else ""
    if not isinstance(node, ast.Call):
        return ""
    name = source.name(node.func)
    if name in GETTERS:
        variable = _variable(source, node.args[0] if node.args else None)
        return f"the environment's {variable} is read" if variable not in OF_THE_SYSTEM else ""
    last = name.rsplit(".", 1)[-1]
    if last in project.classes and any(base.endswith("BaseSettings") for base in project.bases(last)):
        return f"{last}() reads the environment"
    return ""


def _variable(source: Source, node: ast.AST | None) -> str:
    """The name of the variable that is looked up, or what it is looked up by."""
    if isinstance(node, ast.Name):
        return next((name for value in source.values(node) if (name := text(value))), node.id)
    return text(node) or "variable"


def _is_environment(source: Source, node: ast.AST) -> bool:
    return source.name(node) == "os.environ"


def when_needed(source: Source, project: Project) -> Iterator[Finding]:
    """A variable that must be there is looked up inside a function."""
    for node in source.of(ast.Subscript):
        if not isinstance(node.ctx, ast.Load) or not _is_environment(source, node.value):
            continue
        function = source.function(node)
        variable = _variable(source, node.slice)
        if function is None or source.where[node].main or variable in OF_THE_SYSTEM or _is_guarded(source, node):
            continue
        if is_lifespan(source, function):
            continue
        in_use = serving(source, node) or is_tool(source, function, project)
        at_start = is_startup(source, function) or _is_constructor(function)
        certain = bool(in_use) or (project.service and not at_start and not is_script(source, project))
        yield source.found(
            node,
            "F03",
            "error" if certain else "hint",
            f"the environment's {variable} is read inside {_called(function)}",
        )
    for call in source.of(ast.Call):
        if _is_unchecked(source, call):
            function = source.function(call)
            yield source.found(
                call,
                "F03",
                "hint",
                f"{text(call.args[0])} may be unset: its value goes on unchecked from {_called(function)}",
            )


def _called(function: object) -> str:
    return f"{getattr(function, 'name', 'a lambda')}()" if hasattr(function, "name") else "a lambda"


def _is_constructor(function: object) -> bool:
    return getattr(function, "name", "") in ("__init__", "model_post_init", "__post_init__")


def _is_guarded(source: Source, node: ast.Subscript) -> bool:
    """Whether the function looks first whether the variable is there, sets it itself, or catches its absence."""
    variable, function = text(node.slice), source.function(node)
    for above in source.above(node):
        if isinstance(above, ast.Try) and any("KeyError" in ast.dump(one.type) for one in above.handlers if one.type):
            return True
    for one in source.inside(function) if function else ():
        if isinstance(one, ast.Compare) and text(one.left) == variable and isinstance(one.ops[0], ast.In | ast.NotIn):
            return True
        if isinstance(one, ast.Subscript) and isinstance(one.ctx, ast.Store) and text(one.slice) == variable:
            return True
        looks = isinstance(one, ast.Call) and source.name(one.func) in LOOKS
        if looks and isinstance(one, ast.Call) and one.args and text(one.args[0]) == variable:
            return True
    return False


def _is_unchecked(source: Source, call: ast.Call) -> bool:
    """Whether os.getenv("API_KEY") without a default goes into another call, and nothing looks at it before."""
    if source.name(call.func) not in ("os.getenv", "os.environ.get") or call.keywords or not _is_required(call.args):
        return False
    function = source.function(call)
    if (
        function is None
        or source.where[call].main
        or is_startup(source, function)
        or _is_tested(source, call, function)
    ):
        return False
    parent = source.parents[call]
    if isinstance(parent, ast.Assign) and isinstance(parent.targets[0], ast.Name):
        return _goes_on(source, function, parent.targets[0].id)
    taker = source.parents.get(parent) if isinstance(parent, ast.keyword) else parent
    if isinstance(taker, ast.Dict):
        key = taker.keys[taker.values.index(call)]
        return bool(HEADER.search(text(key)))
    return isinstance(taker, ast.FormattedValue) or (isinstance(taker, ast.Call) and not _is_optional(taker))


def _is_optional(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Name) and call.func.id in ("print", "bool", "dict", "str", "isinstance")


def _is_required(given: list[ast.expr]) -> bool:
    has_default = len(given) > 1 and not (isinstance(given[1], ast.Constant) and given[1].value in ("", None))
    return bool(given) and not has_default and bool(REQUIRED.search(text(given[0])))


def _goes_on(source: Source, function: ast.AST, name: str) -> bool:
    """Whether a name is an argument in the function, and no condition of it reads the name."""
    handed = False
    for node in source.inside(function):
        conditions = [getattr(node, "test", None), *(node.values if isinstance(node, ast.BoolOp) else ())]
        if any(name in names_in(condition) for condition in conditions if condition) or (
            isinstance(node, ast.Compare | ast.UnaryOp) and name in names_in(node)
        ):
            return False
        handed |= isinstance(node, ast.FormattedValue) and isinstance(node.value, ast.Name) and node.value.id == name
        if isinstance(node, ast.Call) and not _is_optional(node):
            given = [*node.args, *(item.value for item in node.keywords)]
            handed |= any(isinstance(value, ast.Name) and value.id == name for value in given)
    return handed


def _is_tested(source: Source, call: ast.Call, function: ast.AST) -> bool:
    """Whether the same variable is looked at elsewhere in this function, as a check does."""
    variable = text(call.args[0])
    others = (one for one in source.inside(function) if isinstance(one, ast.Call) and one is not call and one.args)
    return any(text(one.args[0]) == variable for one in others)


RULES = (at_import, when_needed)
