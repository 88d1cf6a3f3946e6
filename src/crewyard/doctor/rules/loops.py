"""F12 and F13: what blocks an event loop, and what belongs to one and outlives it."""

import ast
from collections.abc import Iterator

from crewyard.doctor.findings import Finding
from crewyard.doctor.names import BLOCKING_STARTS, TASK_STARTS, is_async_client, kind_of
from crewyard.doctor.nodes import method
from crewyard.doctor.project import Project
from crewyard.doctor.roles import is_streamlit_page
from crewyard.doctor.runs import blocks, callee, starts
from crewyard.doctor.source import Source

OFF_THE_LOOP = frozenset({"to_thread", "run_in_executor", "run_sync", "run_in_threadpool", "sync_to_async"})
BLOCKING = frozenset(
    {"sqlite3.connect", "psycopg2.connect", "psycopg.connect", "pymysql.connect", "mysql.connector.connect"}
)
SYNC_MODELS = (
    "chat.completions.create",
    "messages.create",
    "responses.create",
    "completions.create",
    "embeddings.create",
)
LOOP_BOUND = frozenset(
    {
        "httpx.AsyncClient", "aiohttp.ClientSession", "aiohttp.TCPConnector", "asyncpg.create_pool",
        "asyncio.new_event_loop", "asyncio.get_event_loop", "motor.motor_asyncio.AsyncIOMotorClient",
        "redis.asyncio.Redis", "redis.asyncio.from_url",
    }
)  # fmt: skip
# They open their connections at the first call, so they are wrong only where a second loop uses them.
LOOP_BOUND_AT_CALL = frozenset(
    {
        "httpx.AsyncClient", "motor.motor_asyncio.AsyncIOMotorClient", "redis.asyncio.Redis", "redis.asyncio.from_url",
    }
)  # fmt: skip
# They bind to a loop at their first wait (since Python 3.10), so one made at import is wrong only if two loops use it.
LOOP_BOUND_AT_USE = frozenset(
    {"asyncio.Lock", "asyncio.Queue", "asyncio.Semaphore", "asyncio.Event", "asyncio.Condition"}
)


def blocking_starts(source: Source, project: Project) -> Iterator[Finding]:
    """A synchronous kickoff, chat, model call or database driver inside an `async def`."""
    for call in source.of(ast.Call):
        function = source.function(call)
        if not isinstance(function, ast.AsyncFunctionDef) or isinstance(source.parents.get(call), ast.Await):
            continue
        name = source.name(call.func)
        if _waits_below(source, project, call):
            yield source.found(
                call,
                "F12",
                "error",
                f"{method(call)}() starts a run and blocks the event loop in async {function.name}()",
            )
        elif method(call) in BLOCKING_STARTS | TASK_STARTS and not _is_async_chain(source, call):
            if starts(project, source, call) and not _own_coroutine(source, project, call):
                yield source.found(
                    call,
                    "F12",
                    "error",
                    f"{method(call)}() blocks the event loop in async {function.name}()",
                    _awaited(method(call)),
                )
        elif name in BLOCKING:
            yield source.found(call, "F12", "error", f"{name}() blocks the event loop in async {function.name}()")
        elif isinstance(call.func, ast.Attribute) and (made := _sync_sdk(source, call)):
            yield source.found(
                call, "F12", "error", f"the synchronous client {made} blocks the event loop in async {function.name}()"
            )


def _waits_below(source: Source, project: Project, call: ast.Call) -> bool:
    """Whether a plain function of the project is called that waits for a run."""
    target = callee(project, source, call.func)
    if target is None or isinstance(target[1], ast.AsyncFunctionDef) or starts(project, source, call):
        return False
    return not _is_async_chain(source, call) and blocks(project, *target)


def _awaited(start: str) -> str:
    if start in TASK_STARTS:
        return "put the task into a crew and await its akickoff(), or hand this to asyncio.to_thread"
    if start.startswith("kickoff"):
        return f"await its akickoff() ({start}_async() runs it in a thread), or make the endpoint a plain `def`"
    return f"await a_{start}(), or make the endpoint a plain `def`"


def _is_async_chain(source: Source, call: ast.Call) -> bool:
    """Whether the call stands among the arguments of something that takes work off the loop."""
    return any(isinstance(above, ast.Call) and method(above) in OFF_THE_LOOP for above in source.above(call))


def _own_coroutine(source: Source, project: Project, call: ast.Call) -> bool:
    """Whether the method is the project's own `async def`."""
    target = callee(project, source, call.func)
    return bool(target and isinstance(target[1], ast.AsyncFunctionDef))


def _sync_sdk(source: Source, call: ast.Call) -> str:
    """The name of the synchronous SDK client whose method this is, "" if it is none."""
    if not any(_dotted(call.func).endswith(ending) for ending in SYNC_MODELS):
        return ""
    root = call.func
    while isinstance(root, ast.Attribute):
        values = source.values(root)
        root = values[0] if values else root.value
    if isinstance(root, ast.Name):
        root = (source.values(root) or [root])[0]
    name = source.name(root.func) if isinstance(root, ast.Call) else ""
    is_sdk = (
        kind_of(name) == "model client"
        and name.split(".")[0] in ("openai", "anthropic", "groq")
        and not is_async_client(name)
    )
    return name if is_sdk else ""


def _dotted(node: ast.AST) -> str:
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join(reversed(parts))


def bound_to_a_loop(source: Source, project: Project) -> Iterator[Finding]:
    """An async client at import level, or a loop started inside a loop."""
    page = is_streamlit_page(source)
    for call in source.of(ast.Call):
        name = source.name(call.func)
        if source.where[call].at_import:
            if page or isinstance(source.parents.get(call), ast.Attribute):
                continue  # a page is no import; what is asked for its description is dropped
            if name in LOOP_BOUND or is_async_client(name):
                late = name in LOOP_BOUND_AT_CALL or is_async_client(name)
                certain = not late or project.several_loops(source)
                yield source.found(
                    call,
                    "F13",
                    "error" if certain else "hint",
                    f"{name}() is made at import, before the loop or process that uses it",
                )
            elif name in LOOP_BOUND_AT_USE:
                yield source.found(
                    call, "F13", "hint", f"{name}() at import is bound to the first loop that waits for it"
                )
        elif name in ("asyncio.run", "asyncio.get_event_loop.run_until_complete") and isinstance(
            source.function(call), ast.AsyncFunctionDef
        ):
            yield source.found(
                call,
                "F13",
                "error",
                "asyncio.run() inside a coroutine raises: a loop runs already",
                "await the coroutine itself",
            )


RULES = (blocking_starts, bound_to_a_loop)
