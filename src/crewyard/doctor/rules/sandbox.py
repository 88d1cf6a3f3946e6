"""F21: code that a model writes and the service runs."""

import ast
from collections.abc import Iterator

from crewyard.doctor.findings import Finding
from crewyard.doctor.names import AUTOGEN_ROOTS, kind_of
from crewyard.doctor.nodes import Function, is_true, keyword, method, names_in, parameters, text
from crewyard.doctor.project import Project
from crewyard.doctor.roles import is_tool
from crewyard.doctor.source import Source

LOCAL_EXECUTORS = frozenset(
    {"LocalCommandLineCodeExecutor", "LocalJupyterServer", "JupyterCodeExecutor", "EmbeddedIPythonCodeExecutor"}
)
PYTHON_TOOLS = frozenset({"PythonREPLTool", "PythonREPL", "PythonAstREPLTool", "ShellTool", "BashProcess"})
CODE = frozenset({"eval", "exec", "compile", "os.system", "os.popen"})
PROCESSES = frozenset(
    {
        "subprocess.run",
        "subprocess.Popen",
        "subprocess.call",
        "subprocess.check_output",
        "subprocess.check_call",
        "asyncio.create_subprocess_shell",
    }
)


def executors(source: Source, project: Project) -> Iterator[Finding]:
    """An executor or tool of a framework that runs code on this machine."""
    for call in source.of(ast.Call):
        name, last = source.name(call.func), method(call)
        if name.split(".")[0] in AUTOGEN_ROOTS and last in LOCAL_EXECUTORS:
            yield source.found(call, "F21", "error", f"{last} runs generated code in this process's environment")
        elif name.startswith("langchain") and last in PYTHON_TOOLS:
            yield source.found(call, "F21", "error", f"{last} runs what a model writes on this machine")
        elif name == "crewai_tools.CodeInterpreterTool" and is_true(unsafe := keyword(call, "unsafe_mode")):
            yield source.found(unsafe or call, "F21", "error", "unsafe_mode=True runs generated code on this machine")
        elif kind_of(name) == "code executor" and (place := _place(source, keyword(call, "work_dir"))):
            seen = f"generated code of all runs shares the directory {place!r}"
            yield source.found(call, "F21", "error" if project.service else "hint", seen)
        yield from _agent(source, call)


def _place(source: Source, node: ast.expr | None) -> str:
    """A literal directory, of this expression or of the name that it refers to."""
    if isinstance(node, ast.Name):
        values = source.values(node)
        node = values[0] if len(values) == 1 else None
    return text(node)


def _agent(source: Source, call: ast.Call) -> Iterator[Finding]:
    mode = keyword(call, "code_execution_mode")
    allowed = keyword(call, "allow_code_execution")
    if allowed and is_true(allowed) and kind_of(source.name(call.func)) == "agent":
        unsafe = text(mode) == "unsafe"
        seen = (
            'code_execution_mode="unsafe" runs generated code on this machine'
            if unsafe
            else "this agent may run code: by default in Docker, if that is there"
        )
        yield source.found(mode if unsafe and mode else allowed, "F21", "error" if unsafe else "hint", seen)
    config = keyword(call, "code_execution_config")
    if isinstance(config, ast.Name):
        config = next(iter(source.values(config)), None)
    if isinstance(config, ast.Dict):
        yield from _config(source, config)


def _config(source: Source, config: ast.Dict) -> Iterator[Finding]:
    """AutoGen's code_execution_config."""
    given = {text(key): value for key, value in zip(config.keys, config.values, strict=True) if key}
    docker = given.get("use_docker")
    if isinstance(docker, ast.Constant) and docker.value is False:
        yield source.found(docker, "F21", "error", "use_docker=False runs generated code on this machine")
    elif (place := text(given.get("work_dir"))) and "executor" not in given:
        yield source.found(
            given["work_dir"], "F21", "error", f"generated code of all runs shares the directory {place!r}"
        )


def executed_arguments(source: Source, project: Project) -> Iterator[Finding]:
    """A tool that runs its own argument as code or in a shell; hint: any command for a shell that is put together."""
    for call in source.of(ast.Call):
        function = source.function(call)
        name = source.name(call.func)
        in_shell = name in PROCESSES and (is_true(keyword(call, "shell")) or name.endswith("_shell"))
        if function is None or not call.args or not (name in CODE or in_shell) or source.where[call].main:
            continue
        if is_tool(source, function, project):
            if tainted(source, function, call.args[0]):
                yield source.found(call, "F21", "error", f"the tool runs its argument with {name}()")
        elif in_shell and isinstance(call.args[0], ast.JoinedStr) and _is_composed(call.args[0]):
            yield source.found(call, "F21", "hint", "a shell runs a command that is put together from values")


def _is_composed(node: ast.JoinedStr) -> bool:
    return any(isinstance(part, ast.FormattedValue) for part in node.values)


def tainted(source: Source, function: Function, node: ast.AST, depth: int = 0) -> bool:
    """Whether an expression is made of the function's parameters, directly or through names that are."""
    mine = set(parameters(function))
    for name in names_in(node):
        if name in mine:
            return True
        if depth < 3 and any(
            tainted(source, function, value, depth + 1) for value in source.bound.get((function, name), [])
        ):
            return True
    return any(
        isinstance(one, ast.Attribute) and isinstance(one.value, ast.Name) and one.value.id in mine
        for one in ast.walk(node)
    )


RULES = (executors, executed_arguments)
