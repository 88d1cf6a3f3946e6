"""F22: addresses, paths and statements that a model chooses and a tool uses as they are."""

import ast
import re
from collections.abc import Iterator

from crewyard.doctor.findings import Finding
from crewyard.doctor.nodes import Function, keyword, method, parameters, text
from crewyard.doctor.project import Project
from crewyard.doctor.roles import is_helper, is_tool
from crewyard.doctor.rules.sandbox import tainted
from crewyard.doctor.source import Source

FETCHES = re.compile(
    r"^(requests|httpx|urllib\.request|aiohttp)\.(get|post|put|delete|head|request|urlopen|urlretrieve|stream)$"
)
SESSIONS = frozenset({"httpx.Client", "httpx.AsyncClient", "aiohttp.ClientSession", "requests.Session"})
CHECKS = (
    "is_relative_to", "relative_to", "commonpath", "hostname", "netloc", "is_private", "allowed", "ALLOWED",
    "allowlist", "whitelist", "validate", "sanitize", "secure_filename", "basename", "realpath", "_safe", "safe_",
)  # fmt: skip
OPENS = frozenset({"open", "io.open", "os.listdir", "os.scandir", "os.walk", "os.remove", "shutil.rmtree"})
OPENERS = frozenset({"PdfReader", "PyPDFLoader", "TextLoader", "CSVLoader", "read_csv", "read_excel", "read_parquet"})
BOUNDLESS = frozenset({"NL2SQLTool"})
WIDE = {"FileReadTool": "file_path", "DirectoryReadTool": "directory", "ScrapeWebsiteTool": "website_url"}
STATEMENT = re.compile(r"^\s*(SELECT|INSERT|UPDATE|DELETE|WITH)\b", re.IGNORECASE)


def own_tools(source: Source, project: Project) -> Iterator[Finding]:
    """A tool of the project that fetches, opens or executes what its argument says."""
    for call in source.of(ast.Call):
        if not (reached := _reached(source, call)):
            continue
        function = next((one for one in source.functions(call) if is_tool(source, one, project)), None)
        helper = function is None and next(
            (one for one in source.functions(call) if is_helper(source, one, project)), None
        )
        function = function or helper or None
        if function is None:
            continue
        what, argument = reached
        if not _chooses(source, function, argument, what):
            continue
        checked = _is_checked(source, function, what)
        remark = " and the check is not one that the doctor knows" if checked else ""
        yield source.found(
            call,
            "F22",
            "hint" if checked or helper else "error",
            f"the tool {what} {'an argument of its helper' if helper else 'its argument'}{remark}",
        )


def _is_checked(source: Source, function: Function, what: str) -> bool:
    """Whether a name in the function sounds like a check of where it goes."""
    nodes = list(ast.walk(function))
    names = {node.attr for node in nodes if isinstance(node, ast.Attribute)} | {
        node.id for node in nodes if isinstance(node, ast.Name)
    }
    return any(word in name for name in names for word in CHECKS) or (what == "opens" and "startswith" in names)


def _reached(source: Source, call: ast.Call) -> tuple[str, ast.expr] | None:
    """What a call does with the outside, and the expression that says with what."""
    name, last = source.name(call.func), method(call)
    first = call.args[0] if call.args else keyword(call, "url")
    if first is None:
        return None
    if FETCHES.match(name) or (last in ("get", "post", "request", "stream") and _is_session(source, call)):
        wanted = call.args[1] if last in ("request", "stream") and len(call.args) > 1 else first
        return "fetches", keyword(call, "url") or wanted
    if name in OPENS or (last in OPENERS and "." in name):
        return "opens", first
    if name == "pathlib.Path" and _is_used(source, call):
        return "opens", first
    if last in ("execute", "executescript", "read_sql", "read_sql_query") and isinstance(call.func, ast.Attribute):
        statement = first.args[0] if isinstance(first, ast.Call) and method(first) == "text" and first.args else first
        return "executes", statement
    return None


def _is_session(source: Source, call: ast.Call) -> bool:
    target = call.func.value if isinstance(call.func, ast.Attribute) else None
    return target is not None and any(
        isinstance(value, ast.Call) and source.name(value.func) in SESSIONS for value in source.values(target)
    )


def _is_used(source: Source, call: ast.Call) -> bool:
    above = source.parents.get(call)
    return isinstance(above, ast.Attribute) and above.attr in (
        "read_text",
        "write_text",
        "read_bytes",
        "write_bytes",
        "open",
        "unlink",
        "iterdir",
        "glob",
        "rglob",
    )


def _chooses(source: Source, function: Function, node: ast.expr, what: str, depth: int = 0) -> bool:
    """Whether the argument of the tool decides where this goes: the host, the first part of the path, the statement."""
    if isinstance(node, ast.Name):
        if node.id in parameters(function):
            return True
        values = source.bound.get((function, node.id), [])
        return depth < 4 and any(_chooses(source, function, value, what, depth + 1) for value in values)
    if isinstance(node, ast.JoinedStr):
        return _of_template(source, function, node, what, depth)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Mod):
        if what == "executes" and (isinstance(node.left, ast.BinOp) or STATEMENT.match(text(node.left))):
            return tainted(source, function, node)
        return _chooses(source, function, node.left, what, depth + 1)
    if isinstance(node, ast.Subscript):
        return _chooses(source, function, node.value, what, depth + 1)
    return isinstance(node, ast.Call) and _of_call(source, function, node, what, depth)


def _of_call(source: Source, function: Function, call: ast.Call, what: str, depth: int) -> bool:
    """Whether a call hands the argument on: `url.strip()`, `json.loads(text)`, `given.get("url")`."""
    last = method(call)
    if last == "format" and what != "executes":
        return False
    if last in ("strip", "rstrip", "lstrip", "get", "expanduser", "items"):
        return isinstance(call.func, ast.Attribute) and _chooses(source, function, call.func.value, what, depth + 1)
    if last in ("str", "loads", "urljoin", "Path", "unquote") and call.args:
        return _chooses(source, function, call.args[0], what, depth + 1)
    return (
        last == "join"
        and what == "opens"
        and any(_chooses(source, function, one, what, depth + 1) for one in call.args)
    )


def _of_template(source: Source, function: Function, node: ast.JoinedStr, what: str, depth: int) -> bool:
    if what == "executes":
        return any(
            isinstance(part, ast.FormattedValue) and _chooses(source, function, part.value, what, depth + 1)
            for part in node.values
        )
    if what == "opens":
        return any(
            isinstance(part, ast.FormattedValue) and _chooses(source, function, part.value, what, depth + 1)
            for part in node.values
        )
    first = node.values[0] if node.values else None
    if isinstance(first, ast.Constant) and str(first.value) in ("http://", "https://") and len(node.values) > 1:
        first = node.values[1]
    return isinstance(first, ast.FormattedValue) and _chooses(source, function, first.value, what, depth + 1)


def given_tools(source: Source, project: Project) -> Iterator[Finding]:
    """A ready-made tool that is handed over without a bound."""
    for call in source.of(ast.Call):
        name, last = source.name(call.func), method(call)
        if not name.startswith("crewai_tools."):
            continue
        if last in BOUNDLESS:
            yield source.found(
                call,
                "F22",
                "error",
                f"{last} executes whatever SQL the model writes",
                "give it a database role that may only read, and only what the user may see",
            )
        elif last in WIDE and not call.args and not keyword(call, WIDE[last]):
            yield source.found(call, "F22", "hint", f"{last}() reads whatever the model names")


RULES = (own_tools, given_tools)
