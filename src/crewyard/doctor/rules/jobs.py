"""F19, F24 and F25: how a service starts its runs, and what it does when it starts itself."""

import ast
from collections.abc import Iterator

from crewyard.doctor.findings import Finding
from crewyard.doctor.nodes import Function, keyword, method
from crewyard.doctor.project import Project
from crewyard.doctor.roles import APPS, WEB_APPS, is_streamlit_page, queue_decorator, serving
from crewyard.doctor.runs import callee, starts, starts_below
from crewyard.doctor.source import Source

HEAVY = ("crewai", "crewai_tools", "torch", "transformers", "sentence_transformers", "chromadb", "tensorflow")


# What counts tokens: attributes of the frameworks, and the services and libraries that watch them.
COUNTS = (
    "usage_metrics", "token_usage", "usage_metadata", "gather_usage_summary", "models_usage", "total_tokens",
    "prompt_tokens", "completion_tokens", "total_usage", "actual_usage", "get_openai_callback", "token_counter",
    "langfuse", "langsmith", "agentops", "openlit", "opik", "mlflow", "crewyard_runtime",
)  # fmt: skip


def fire_and_forget(source: Source, project: Project) -> Iterator[Finding]:
    """A web handler that starts a run in a thread, a task or after the response."""
    for call in source.of(ast.Call):
        handed = _handed(source, call)
        if handed is None or source.function(call) is None or source.where[call].main:
            continue
        handler = serving(source, call) == "a web handler"
        if (handler or (project.service and method(call) != "submit")) and _is_run(source, project, handed):
            yield source.found(
                call,
                "F19",
                "error" if handler else "hint",
                f"{method(call)}() starts a run that only this process knows of",
            )


def _handed(source: Source, call: ast.Call) -> ast.expr | None:
    """What is started in the background."""
    name, last = source.name(call.func), method(call)
    if last == "add_task" and call.args:
        return call.args[0]
    if (
        name in ("asyncio.create_task", "asyncio.ensure_future", "_thread.start_new_thread")
        and call.args
        and not isinstance(source.parents[call], ast.Await)
    ):
        return call.args[0]
    if name in ("threading.Thread", "multiprocessing.Process"):
        return keyword(call, "target")
    if last == "submit" and call.args and isinstance(source.parents[call], ast.Expr):
        return call.args[0]
    return None


def _is_run(source: Source, project: Project, handed: ast.expr) -> bool:
    if isinstance(handed, ast.Call):
        if starts(project, source, handed):
            return True
        handed = handed.func
    if isinstance(handed, ast.Attribute) and handed.attr.startswith(
        ("kickoff", "akickoff", "initiate_chat", "a_initiate_chat")
    ):
        return True
    if isinstance(handed, ast.Lambda):
        return starts_below(project, source, handed)
    target = callee(project, source, handed) or _nested(source, handed)
    return bool(target and starts_below(project, *target))


def _nested(source: Source, handed: ast.expr) -> tuple[Source, Function] | None:
    """A function that is defined inside of the one that hands it over."""
    if not isinstance(handed, ast.Name):
        return None
    around = set(source.functions(handed))
    return next(
        ((source, one) for one in source.definitions() if one.name == handed.id and source.function(one) in around),
        None,
    )


def queue_tasks(source: Source, project: Project) -> Iterator[Finding]:
    """A Celery task that is acknowledged before its run has ended."""
    for function in source.definitions():
        if queue_decorator(source, function) is None or not starts_below(project, source, function):
            continue
        if not project.mentions("acks_late"):
            yield source.found(
                function,
                "F19",
                "error",
                f"the Celery task {function.name} is acknowledged before its run has ended",
                "set acks_late=True and reject_on_worker_lost=True, and make the run safe to repeat",
            )
        if not project.mentions("time_limit"):
            yield source.found(
                function,
                "F19",
                "hint",
                f"the Celery task {function.name} has no time limit",
                "set time_limit and soft_time_limit",
            )


def started_at_import(source: Source, project: Project) -> Iterator[Finding]:
    """A run that the import of a module starts."""
    if is_streamlit_page(source):
        return
    makes_app = any(source.name(call.func) in APPS for call in source.of(ast.Call))
    certain = makes_app or project.preloaded or project.is_imported(source)
    for call in source.of(ast.Call):
        if not source.where[call].at_import:
            continue
        inner = (
            call.args[0]
            if source.name(call.func) == "asyncio.run" and call.args and isinstance(call.args[0], ast.Call)
            else call
        )
        target = callee(project, source, inner.func) if isinstance(inner.func, ast.Name) else None
        if starts(project, source, inner) or (target and starts_below(project, *target)):
            yield source.found(
                call, "F24", "error" if certain else "hint", "a run is started when the module is imported"
            )


def heavy_imports(source: Source, project: Project) -> Iterator[Finding]:
    """A slow import in the module that makes the web application."""
    app = next(
        (call for call in source.of(ast.Call) if source.name(call.func) in WEB_APPS and source.where[call].at_import),
        None,
    )
    if app is None:
        return
    for node in source.of(ast.Import, ast.ImportFrom):
        if not source.where[node].at_import:
            continue
        names = (
            [node.module or ""]
            if isinstance(node, ast.ImportFrom) and not node.level
            else [item.name for item in getattr(node, "names", ())]
        )
        if isinstance(node, ast.ImportFrom) and node.level:
            continue
        if heavy := next((name.split(".")[0] for name in names if name.split(".")[0] in HEAVY), ""):
            yield source.found(
                node, "F25", "hint", f"{heavy} takes seconds to import, in the module that makes the application"
            )
            return


def unseen_cost(project: Project) -> Iterator[Finding]:
    """A project that starts runs and reads no token count anywhere."""
    if any(word in source.text for source in project.sources for word in COUNTS):
        return
    for source in project.sources:
        for call in source.of(ast.Call):
            if starts(project, source, call):
                yield source.found(
                    call,
                    "F26",
                    "hint",
                    "runs are started here, and nothing in the project reads how many tokens they took",
                )
                return


RULES = (fire_and_forget, queue_tasks, started_at_import, heavy_imports)
