"""F05 and F15: what is written to the container's disk."""

import ast
import re
from collections.abc import Iterator

from crewyard.doctor.findings import Finding
from crewyard.doctor.names import kind_of
from crewyard.doctor.nodes import is_true, keyword, method, text
from crewyard.doctor.project import Project
from crewyard.doctor.roles import is_startup, is_streamlit_page, is_tool, serving
from crewyard.doctor.runs import starts_below
from crewyard.doctor.source import Source

TABLES = frozenset({"to_csv", "to_excel", "to_json", "to_parquet", "to_html", "savefig", "write_image", "write_html"})
WRITES = re.compile(r"[wax]")
LOG_FILES = frozenset(
    {
        "logging.basicConfig",
        "logging.FileHandler",
        "logging.handlers.RotatingFileHandler",
        "logging.handlers.TimedRotatingFileHandler",
    }
)
DEVICES = ("/dev/", "/proc/", ":memory:")


def fixed_paths(source: Source, project: Project) -> Iterator[Finding]:
    """A file with a fixed name is written by a run."""
    for call in source.of(ast.Call):
        path, how = _written(source, call)
        if not path or path.startswith(DEVICES):
            continue
        yield source.found(
            call,
            "F05",
            "error" if _is_of_a_run(source, project, call) else "hint",
            f"{how} writes the fixed path {path!r}",
        )
    for call in source.of(ast.Call):
        name = source.name(call.func)
        if kind_of(name) == "task" and (path := text(keyword(call, "output_file"))) and "{" not in path:
            in_function = project.service and source.function(call) is not None
            yield source.found(
                keyword(call, "output_file") or call,
                "F05",
                "error" if in_function else "hint",
                f"the task writes the fixed path {path!r}",
            )
        elif kind_of(name) == "crew" and (log := keyword(call, "output_log_file")) and (text(log) or is_true(log)):
            yield source.found(log, "F05", "hint", "the crew writes its log to one file for all runs")
        elif name in LOG_FILES and (path := _path(source, (_log_file(call) or call))):
            yield source.found(
                call,
                "F05",
                "hint",
                f"the log goes to the local file {path!r}",
                "log to stdout, and let the platform collect it",
            )
        elif name == "crewai_tools.FileWriterTool":
            yield source.found(
                call, "F05", "hint", "FileWriterTool writes wherever the agent says, in one directory for all runs"
            )


def _written(source: Source, call: ast.Call) -> tuple[str, str]:
    """The fixed path that a call writes, and what writes it."""
    name, last = source.name(call.func), method(call)
    if name in ("open", "io.open", "codecs.open", "aiofiles.open"):
        mode = text(call.args[1]) if len(call.args) > 1 else text(keyword(call, "mode"))
        return (_path(source, call.args[0]), "open()") if call.args and WRITES.search(mode) else ("", "")
    if last in TABLES and call.args:
        return _file(_path(source, call.args[0])), last
    if isinstance(call.func, ast.Attribute):
        target = call.func.value
        if last in ("write_text", "write_bytes"):
            return _of_path(source, target), last
        if last == "open" and call.args and WRITES.search(text(call.args[0])):
            return _of_path(source, target), "Path.open()"
    return "", ""


def _log_file(call: ast.Call) -> ast.expr | None:
    return keyword(call, "filename") or (call.args[0] if call.args else None)


def _file(path: str) -> str:
    return path if "." in path else ""


def _path(source: Source, node: ast.expr, depth: int = 0) -> str:
    """A literal path, of this expression or of the name it refers to; "" if any part of it may differ."""
    if isinstance(node, ast.Constant):
        return text(node)
    if isinstance(node, ast.Name) and depth < 3:
        values = source.values(node)
        return _path(source, values[0], depth + 1) if len(values) == 1 else ""
    if isinstance(node, ast.Call) and source.name(node.func) in ("os.path.join",) and node.args:
        parts = [_path(source, one, depth + 1) for one in node.args]
        return "/".join(parts) if all(parts) else ""
    return _of_path(source, node, depth + 1) if depth < 3 else ""


def _of_path(source: Source, node: ast.AST, depth: int = 0) -> str:
    if isinstance(node, ast.Call) and source.name(node.func) == "pathlib.Path" and len(node.args) == 1:
        return _path(source, node.args[0], depth)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        left, right = _of_path(source, node.left, depth), _path(source, node.right, depth + 1)
        return f"{left}/{right}" if left and right else ""
    if isinstance(node, ast.Name) and depth < 3:
        values = source.values(node)
        return _of_path(source, values[0], depth + 1) if len(values) == 1 else ""
    return ""


def _is_of_a_run(source: Source, project: Project, call: ast.Call) -> bool:
    """Whether the code is certainly part of a run or request, not of a script that one person starts."""
    if is_streamlit_page(source):
        return not source.where[call].main  # its whole text is run for each user
    if source.where[call].main or (function := source.function(call)) is None:
        return False
    if serving(source, call) or any(is_tool(source, one, project) for one in source.functions(call)):
        return True
    klass = source.where[call].klass
    if klass and any(kind_of(base) == "flow" for base in project.bases(klass.name)):
        return True
    return project.service and not is_startup(source, function) and starts_below(project, source, function)


def local_stores(source: Source, project: Project) -> Iterator[Finding]:
    """A database, vector store, memory or checkpoint in a local directory."""
    configured = "CREWAI_STORAGE_DIR" in source.text
    for call in source.of(ast.Call):
        name, last = source.name(call.func), method(call)
        if what := _local_store(source, call, name, last):
            certain = project.service and not source.where[call].main and "'" in what  # it names a literal place
            yield source.found(call, "F15", "error" if certain else "hint", what)
        elif (
            kind_of(name) == "crew"
            and is_true(memory := keyword(call, "memory"))
            and not keyword(call, "external_memory")
        ):
            assert memory is not None
            yield source.found(
                memory,
                "F15",
                "error" if project.service and not configured else "hint",
                "memory=True keeps what the crew learns on the local disk",
            )
    for klass in source.of(ast.ClassDef):
        yield from _persisted(source, project, klass)


def _local_store(source: Source, call: ast.Call, name: str, last: str) -> str:
    if (
        name == "sqlite3.connect"
        and call.args
        and (path := _path(source, call.args[0]))
        and not path.startswith((":memory:", "file::memory"))
    ):
        return f"the database {path!r} is a local file"
    if name == "chromadb.PersistentClient":
        place = keyword(call, "path") or (call.args[0] if call.args else None)
        directory = _path(source, place) if place else "./chroma"
        return (
            f"PersistentClient keeps its data in {directory!r}"
            if directory
            else "PersistentClient keeps its data in a local directory"
        )
    if (directory := text(keyword(call, "persist_directory"))) and directory != ":memory:":
        return f"the vector store keeps its data in {directory!r}"
    if last == "save_local" and call.args and text(call.args[0]):
        return f"the vector store is saved to {text(call.args[0])!r}"
    if name.startswith("crewai.") and last in ("LTMSQLiteStorage", "LanceDBStorage"):
        return f"{last} keeps memories in a local file"
    return ""


def _persisted(source: Source, project: Project, klass: ast.ClassDef) -> Iterator[Finding]:
    decorated = [
        *klass.decorator_list,
        *(
            d
            for one in klass.body
            if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)
            for d in one.decorator_list
        ),
    ]
    for decorator in decorated:
        target = decorator.func if isinstance(decorator, ast.Call) else decorator
        plain = not isinstance(decorator, ast.Call) or not (decorator.args or keyword(decorator, "persistence"))
        if source.name(target).startswith("crewai.flow") and source.name(target).endswith(".persist") and plain:
            yield source.found(
                decorator,
                "F15",
                "error" if project.service else "hint",
                "@persist without a persistence of its own keeps the flow's state in a local SQLite file",
            )


RULES = (fixed_paths, local_stores)
