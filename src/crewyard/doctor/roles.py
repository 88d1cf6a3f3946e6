"""Who calls a function: a web server, a queue, an agent, or the start of the process."""

import ast
import re

from crewyard.doctor.names import FRAMEWORKS
from crewyard.doctor.nodes import Function, keyword, method, parameters, text
from crewyard.doctor.project import TOOL_BASES, Project
from crewyard.doctor.source import Source

ROUTES = frozenset({"get", "post", "put", "delete", "patch", "route", "websocket", "api_route", "websocket_route"})
CHAT_HANDLERS = frozenset({"chainlit.on_message", "chainlit.on_chat_start"})
BOTS = frozenset({"telegram", "discord", "telebot", "aiogram", "slack_bolt"})
BOT_HANDLERS = frozenset(
    {"command", "event", "message", "message_handler", "slash_command", "hybrid_command", "app_mention"}
)
STARTUP = re.compile(
    r"(^|_)(lifespan|startup|start_up|setup|configure|config|settings|validate|check|init|load|main|require|ensure|bootstrap)(_|$)"
    r"|^(create|make|build)_app(lication)?$"
)
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
    return _is_django_view(source, function) or _is_bot_handler(source, function)


def _is_bot_handler(source: Source, function: Function) -> bool:
    """Whether a chat's bot calls this function for each message."""
    if not any(name.split(".")[0] in BOTS for name in source.imports.values()):
        return False
    if parameters(function)[:2] == ["update", "context"]:
        return True
    decorators = [one.func if isinstance(one, ast.Call) else one for one in getattr(function, "decorator_list", ())]
    return any(isinstance(one, ast.Attribute) and one.attr in BOT_HANDLERS for one in decorators)


def _is_django_view(source: Source, function: Function) -> bool:
    if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef) or not any(
        name.startswith("django") for name in source.imports.values()
    ):
        return False
    arguments = [one.arg for one in function.args.args]
    klass = source.where[function].klass
    return (arguments[:1] == ["request"] and source.stem.startswith("view")) or bool(
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
    return function in _registered(source, project)


def _registered(source: Source, project: Project) -> set[Function]:
    """The functions of a module that are handed to an agent or registered as a tool."""
    if source not in project.tools:
        calls = source.of(ast.Call)
        project.tools[source] = {function for call in calls for function in _handed_over(source, call)}
    return project.tools[source]


def _handed_over(source: Source, call: ast.Call) -> list[Function]:
    last = method(call)
    handed: list[ast.expr] = []
    if last in ("register_function", "FunctionTool", "StructuredTool", "Tool", "from_function"):
        handed = [
            *call.args[:1],
            *(value for name in ("func", "function", "coroutine") if (value := keyword(call, name))),
        ]
    elif isinstance(tools := keyword(call, "tools"), ast.List) and last.endswith("Agent"):
        handed = tools.elts
    names = {one.id for one in handed if isinstance(one, ast.Name)}
    if not names:
        return []
    return [one for one in source.definitions() if one.name in names and not source.where[one].klass]


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


def serving(source: Source, node: ast.AST) -> str:
    """What kind of function, around this node, serves several users at once; "" if none is known to."""
    for function in source.functions(node):
        if is_handler(source, function):
            return "a web handler"
        if is_queue_task(source, function):
            return "a queue's task"
    return ""
