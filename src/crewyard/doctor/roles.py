"""Who calls a function: a web server, a queue, an agent, or the start of the process."""

import ast
import re
from functools import lru_cache

from crewyard.doctor.names import FRAMEWORKS, STARTS
from crewyard.doctor.nodes import Function, keyword, method, parameters, text
from crewyard.doctor.project import BOTS, TOOL_BASES, Project
from crewyard.doctor.source import Source

ROUTES = frozenset({"get", "post", "put", "delete", "patch", "route", "websocket", "api_route", "websocket_route"})
CHAT_HANDLERS = frozenset({"chainlit.on_message", "chainlit.on_chat_start"})
BOT_HANDLERS = frozenset(
    {"command", "event", "message", "message_handler", "slash_command", "hybrid_command", "app_mention"}
)
STARTUP = re.compile(
    r"(^|_)(lifespan|startup|start_up|setup|configure|config|settings|validate|check|init|load|main|require|ensure|bootstrap)(_|$)"
    r"|^(create|make|build)_app(lication)?$"
)
# What Gradio is given to call: the keyword or the first argument of these.
GRADIO = frozenset({"Interface", "ChatInterface", "click", "submit", "change", "load", "upload", "select"})
# What never returns, or is the last thing that a program does.
RUNS_FOR_EVER = frozenset(
    {"run", "run_polling", "run_until_disconnected", "start_polling", "infinity_polling", "serve"}
)
WEB_APPS = frozenset({"fastapi.FastAPI", "flask.Flask", "starlette.applications.Starlette", "quart.Quart"})
APPS = WEB_APPS | {"celery.Celery"}
SERVERS = frozenset({"uvicorn.run", "hypercorn.run", "waitress.serve"})
# The caches below are small: a module is judged after the other, and what they hold is not freed.
TOOL_DECORATORS = frozenset({"tool", "register_for_llm", "register_for_execution", "function_tool", "ai_function"})


def is_handler(source: Source, function: Function) -> bool:
    """Whether a web framework calls this function for each request."""
    for decorator in getattr(function, "decorator_list", ()):
        target = decorator.func if isinstance(decorator, ast.Call) else decorator
        if source.name(target) in CHAT_HANDLERS:
            return True
        if isinstance(decorator, ast.Call) and isinstance(target, ast.Attribute) and target.attr in ROUTES:
            path = decorator.args[0] if decorator.args else keyword(decorator, "path")
            if target.attr == "route" or text(path).startswith("/") or (text(path) == "" and path is not None):
                return True
    return (
        _is_django_view(source, function)
        or _is_bot_handler(source, function)
        or _is_consumer(source, function)
        or function in _of_gradio(source)
    )


@lru_cache(maxsize=2)
def _of_gradio(source: Source) -> set[Function]:
    """The functions of a module that Gradio calls for each user."""
    if "gradio" not in source.imports.values():
        return set()
    handed = {
        one.id
        for call in source.of(ast.Call)
        if method(call) in GRADIO
        for one in (keyword(call, "fn"), *call.args[:1])
        if isinstance(one, ast.Name)
    }
    return {one for one in source.definitions() if one.name in handed and source.function(one) is None}


def _is_consumer(source: Source, function: Function) -> bool:
    """Whether Django Channels calls this method for each message of a WebSocket."""
    klass = source.where[function].klass if function in source.where else None
    return bool(
        klass
        and getattr(function, "name", "") in ("receive", "receive_json", "websocket_receive")
        and any(source.name(base).startswith("channels.") for base in klass.bases)
    )


def _is_bot_handler(source: Source, function: Function) -> bool:
    """Whether a chat's bot calls this function for each message."""
    if not any(name.split(".")[0] in BOTS for name in source.imports.values()):
        return False
    if parameters(function)[:2] == ["update", "context"]:
        return True
    klass = source.where[function].klass if function in source.where else None
    if klass and getattr(function, "name", "") == "on_message":
        return any(source.name(base).startswith("discord.") for base in klass.bases)
    decorators = [one.func if isinstance(one, ast.Call) else one for one in getattr(function, "decorator_list", ())]
    return any(isinstance(one, ast.Attribute) and one.attr in BOT_HANDLERS for one in decorators)


def _is_django_view(source: Source, function: Function) -> bool:
    if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef) or not any(
        name.startswith("django") for name in source.imports.values()
    ):
        return False
    arguments = [one.arg for one in function.args.args]
    klass = source.where[function].klass
    return (arguments[:1] == ["request"] and "view" in "/".join(source.module[-2:])) or bool(
        klass and function.name in ("get", "post", "put", "patch") and arguments[:2] == ["self", "request"]
    )


def is_queue_task(source: Source, function: Function) -> bool:
    """Whether Celery calls this function."""
    return queue_decorator(source, function) is not None


def queue_decorator(source: Source, function: Function) -> ast.expr | None:
    """The decorator that makes a function a Celery task."""
    for decorator in getattr(function, "decorator_list", ()):
        target = decorator.func if isinstance(decorator, ast.Call) else decorator
        name = source.name(target)
        if name == "celery.shared_task" or (
            isinstance(target, ast.Attribute)
            and target.attr == "task"
            and "crewai" not in name
            and _has_celery(source, name)
        ):
            return decorator  # type: ignore[no-any-return]
    return None


def _has_celery(source: Source, name: str) -> bool:
    return "celery" in name.lower() or any(one.split(".")[0] == "celery" for one in source.imports.values())


def is_tool(source: Source, function: Function, project: Project) -> bool:
    """Whether an agent calls this function as a tool."""
    klass = source.where[function].klass if function in source.where else None
    if klass and getattr(function, "name", "") in ("_run", "_arun"):
        return any(base.rsplit(".", 1)[-1] in TOOL_BASES for base in project.bases(klass.name))
    for decorator in getattr(function, "decorator_list", ()):
        target = decorator.func if isinstance(decorator, ast.Call) else decorator
        name = source.name(target)
        last = name.rsplit(".", 1)[-1] or (target.attr if isinstance(target, ast.Attribute) else "")
        if (
            last in TOOL_DECORATORS
            and name not in ("crewai.project.tool", "crewai.project.annotations.tool")
            and name.split(".")[0] != "fastmcp"
        ):
            return last != "tool" or name.split(".")[0] in FRAMEWORKS or name.startswith("langchain")
    return function in _registered(project)


def is_helper(source: Source, function: Function, project: Project) -> bool:
    """Whether a method of a tool is called by its `_run`, so that its arguments may be the tool's."""
    klass = source.where[function].klass if function in source.where else None
    if klass is None or not any(base.rsplit(".", 1)[-1] in TOOL_BASES for base in project.bases(klass.name)):
        return False
    return getattr(function, "name", "") in _called_by_run(source, klass)


@lru_cache(maxsize=2)
def _called_by_run(source: Source, klass: ast.ClassDef) -> frozenset[str]:
    """The methods of a tool that its `_run` calls."""
    return frozenset(
        method(call)
        for one in klass.body
        if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef) and one.name in ("_run", "_arun")
        for call in source.inside(one)
        if isinstance(call, ast.Call) and source.name(call.func).startswith("self.")
    )


def _registered(project: Project) -> set[Function]:
    """The functions of a project that are handed to an agent or registered as a tool."""
    if project.tools is None:
        project.tools = {
            found[1]
            for source in project.sources
            if source.imports.keys() | source.stars
            for call in source.of(ast.Call)
            for name in _handed_over(call)
            if (found := project.function(source, source.name(name)))
        }
    return project.tools


def _handed_over(call: ast.Call) -> list[ast.Name]:
    """The names of functions that a call makes tools of."""
    last = method(call)
    handed: list[ast.expr | None] = []
    if last in ("FunctionTool", "StructuredTool", "Tool", "from_function", "register_function"):
        handed = [*call.args[:1], *(keyword(call, name) for name in ("func", "function", "coroutine"))]
        by_name = keyword(call, "function_map")
        handed += by_name.values if isinstance(by_name, ast.Dict) else []
    elif isinstance(call.func, ast.Call) and method(call.func) in TOOL_DECORATORS:
        handed = [*call.args[:1]]
    elif isinstance(tools := keyword(call, "tools"), ast.List) and last.endswith("Agent"):
        handed = [*tools.elts]
    return [one for one in handed if isinstance(one, ast.Name)]


def is_startup(source: Source, function: Function) -> bool:
    """Whether a function is, by its name, decorator or caller, one that runs once when the process starts."""
    if isinstance(function, ast.Lambda):
        return False
    if STARTUP.search(function.name) or is_lifespan(source, function):
        return True
    return any(
        source.where[call].main or (source.where[call].at_import and isinstance(call.func, ast.Name))
        for call in source.of(ast.Call)
        if isinstance(call.func, ast.Name) and call.func.id == function.name
    )


def is_lifespan(source: Source, function: Function) -> bool:
    """Whether a web framework calls this function before it takes the first request."""
    names = [ast.dump(one) for one in getattr(function, "decorator_list", ())]
    return any("on_event" in name or "before_first_request" in name for name in names) or (
        getattr(function, "name", "") == "lifespan" and any("contextmanager" in name for name in names)
    )


def is_streamlit_page(source: Source) -> bool:
    """Whether a module is a page that Streamlit runs anew for each user and click: nothing in it is shared."""
    return "streamlit" in source.imports.values() and any(
        source.where[call].at_import and source.name(call.func).startswith("streamlit.") for call in source.of(ast.Call)
    )


def is_crew_class(source: Source, klass: ast.ClassDef) -> bool:
    """Whether a class is decorated with CrewAI's @CrewBase."""
    return any(source.name(one).endswith("CrewBase") for one in klass.decorator_list)


def is_script(source: Source, project: Project) -> bool:
    """Whether a module is a program that one person starts: nobody imports it, and it serves nobody."""
    return (
        is_entry(source, project)
        and not any(method(call) == "launch" or source.name(call.func) in SERVERS for call in source.of(ast.Call))
        and not any(is_handler(source, one) or is_queue_task(source, one) for one in source.definitions())
    )


def is_entry(source: Source, project: Project) -> bool:
    """Whether a module is only ever started, not imported: by no module, and by no server as an application."""
    if project.is_imported(source) or project.preloaded or source.path.endswith("__init__.py"):
        return False
    calls = [call for call in source.of(ast.Call) if source.where[call].at_import or source.where[call].main]
    if any(source.name(call.func) in APPS for call in calls):
        return False
    return any(source.where[call].main or _is_of_a_program(source, call) for call in calls)


def _is_of_a_program(source: Source, call: ast.Call) -> bool:
    """Whether a statement at import is one that only a program has: a run, an output, an endless loop."""
    name, last = source.name(call.func), method(call)
    if name in ("asyncio.run", "print", "input") or last in STARTS | RUNS_FOR_EVER | {"launch"}:
        return True
    own = any(one.name == name and source.function(one) is None for one in source.definitions())
    return own and isinstance(source.parents.get(call), ast.Expr)


def serving(source: Source, node: ast.AST) -> str:
    """What kind of function, around this node, serves several users at once; "" if none is known to."""
    for function in source.functions(node):
        if is_handler(source, function):
            return "a web handler"
        if is_queue_task(source, function):
            return "a queue's task"
        if function in _in_background(source):
            return "a background task"
    return ""


@lru_cache(maxsize=2)
def _in_background(source: Source) -> set[Function]:
    """The functions of a module that its web handlers start after the response."""
    if "add_task" not in source.text:
        return set()
    handed = {
        call.args[0].id
        for call in source.of(ast.Call)
        if method(call) == "add_task" and call.args and isinstance(call.args[0], ast.Name)
    }
    return {one for one in source.definitions() if one.name in handed and source.function(one) is None}
