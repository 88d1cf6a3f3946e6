"""F06: what the state of a flow holds and cannot be stored."""

import ast
from collections.abc import Iterator

from crewyard.doctor.findings import Finding
from crewyard.doctor.names import STARTS, kind_of
from crewyard.doctor.nodes import is_true, keyword, method
from crewyard.doctor.project import Project
from crewyard.doctor.source import Source

NOT_DATA = frozenset(
    {
        "threading.Lock", "threading.RLock", "threading.Thread", "threading.Event", "asyncio.Lock", "asyncio.Event",
        "asyncio.Queue", "concurrent.futures.ThreadPoolExecutor", "open", "requests.Session", "httpx.Client",
        "httpx.AsyncClient", "aiohttp.ClientSession", "sqlite3.connect", "sqlite3.Connection", "psycopg.connect",
        "psycopg2.connect", "pymysql.connect", "sqlalchemy.create_engine", "sqlalchemy.orm.Session",
        "sqlalchemy.Engine", "sqlalchemy.engine.Engine", "redis.Redis", "pymongo.MongoClient", "boto3.client",
    }
)  # fmt: skip


def flow_state(source: Source, project: Project) -> Iterator[Finding]:
    """What cannot be stored in the state of a flow: connections, locks, clients, agents."""
    for klass in source.of(ast.ClassDef):
        if project.classes[klass.name][1] is klass and klass.name in project.flow_states:
            yield from _state_fields(source, klass)
    for assignment in source.of(ast.Assign):
        target = assignment.targets[0]
        if isinstance(target, ast.Subscript):
            target = target.value
        owner = source.where[assignment].klass
        if (
            source.name(target).startswith("self.state")
            and owner
            and any(kind_of(base) == "flow" for base in project.bases(owner.name))
        ):
            value = assignment.value
            made = project.made(source, value) if isinstance(value, ast.Call) else None
            if made or (
                isinstance(value, ast.Call) and source.name(value.func) in NOT_DATA and method(value) not in STARTS
            ):
                what = made.name if made else source.name(value.func)  # type: ignore[attr-defined]
                yield source.found(assignment, "F06", "error", f"{what} is put into the state of a flow")


def _state_fields(source: Source, klass: ast.ClassDef) -> Iterator[Finding]:
    for one in klass.body:
        if isinstance(one, ast.AnnAssign):
            names = {
                source.name(part) for part in ast.walk(one.annotation) if isinstance(part, ast.Name | ast.Attribute)
            }
            bad = next((name for name in sorted(names) if name in NOT_DATA or kind_of(name)), "")
            if bad:
                yield source.found(one, "F06", "error", f"the state {klass.name} holds a {bad}")
    for call in source.of(ast.Call):
        if (
            source.where[call].klass is klass
            and method(call) == "ConfigDict"
            and is_true(keyword(call, "arbitrary_types_allowed"))
        ):
            yield source.found(call, "F06", "hint", f"the state {klass.name} allows types that cannot be stored")


RULES = (flow_state,)
