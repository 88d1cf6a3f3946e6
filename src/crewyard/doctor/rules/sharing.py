"""F02: one object that runs for several users at once."""

import ast
from collections.abc import Iterator

from crewyard.doctor.findings import Finding
from crewyard.doctor.names import RUNNERS, STARTS, STARTS_OF_KNOWN, kind_of
from crewyard.doctor.nodes import Function, keyword, method
from crewyard.doctor.project import Made, Project
from crewyard.doctor.roles import is_streamlit_page, serving
from crewyard.doctor.runs import callee, is_start, starts
from crewyard.doctor.source import Source

DEEPEST = 3  # calls that are followed from a handler
SPREADS = frozenset({"map", "submit", "imap", "imap_unordered", "starmap"})
ALREADY_COPIES = frozenset({"kickoff_for_each", "kickoff_for_each_async", "akickoff_for_each"})


def shared_object(source: Source, project: Project) -> Iterator[Finding]:
    """A crew, agent or team of the module is started by a function that several users reach at once."""
    if is_streamlit_page(source):
        return
    for call in source.of(ast.Call):
        server = serving(source, call) or _on_behalf(source, project, call)
        for used in (call.func, *call.args) if server else ():
            if not isinstance(used, ast.Attribute) or not isinstance(used.value, ast.Name):
                continue
            made = project.made(source, used.value) if _is_shared(source, project, used.value) else None
            seen = _seen(source, project, call, used, made) if made else ""
            if seen:
                yield source.found(call, "F02", "error", f"{server} {seen}, one for all requests")
        if server and method(call) in STARTS and starts(project, source, call):
            for given in (*call.args[:1], keyword(call, "recipient"), keyword(call, "pattern")):
                made = project.made(source, given) if given and _is_shared(source, project, given) else None
                if made and made.kind in RUNNERS and isinstance(given, ast.Name):
                    seen = f"starts a chat with the {made.kind} {given.id}"
                    yield source.found(call, "F02", "error", f"{server} {seen}, one for all requests")


def _on_behalf(source: Source, project: Project, call: ast.Call) -> str:
    """For whom a function works that handlers call: "run_team(), which a web handler calls,"; "" if for nobody."""
    if not project.service or method(call) not in STARTS | STARTS_OF_KNOWN:
        return ""
    if project.served is None:
        project.served = dict(_served(project))
    function = source.function(call)
    server = project.served.get(function, "") if function else ""
    return f"{getattr(function, 'name', 'a lambda')}(), which {server} calls," if server else ""


def _served(project: Project) -> Iterator[tuple[Function, str]]:
    """The functions that handlers and queue tasks call, directly or below, and who does."""
    seen: set[Function] = set()
    for source in project.sources:
        for function in source.definitions():
            server = serving(source, function.body[0])
            rest: list[tuple[Source, Function, int]] = [(source, function, 0)] if server else []
            while rest:
                where, one, depth = rest.pop()
                for node in ast.walk(one) if depth < DEEPEST else ():
                    found = callee(project, where, node) if isinstance(node, ast.Name | ast.Attribute) else None
                    if found and found[1] not in seen:
                        seen.add(found[1])
                        rest.append((*found, depth + 1))
                        yield found[1], server


def _is_shared(source: Source, project: Project, node: ast.AST) -> bool:
    """Whether a name is one of the module, or what a function has handed out of one."""
    if project.module_level(source, node):
        return True
    values = source.values(node)
    return bool(values) and all(
        project.hands_out(source, one.value if isinstance(one, ast.Await) else one) for one in values
    )


def _seen(source: Source, project: Project, call: ast.Call, used: ast.Attribute, made: Made) -> str:
    """What is done to a shared object, as a sentence's end; "" if it is not started."""
    name = source.name(used.value).rsplit(".", 1)[-1]
    started = is_start(used) if used is not call.func else starts(project, source, call)
    if made.kind in RUNNERS:
        return f"starts the {made.kind} {name}" if started else ""
    found = callee(project, source, used) if made.kind == "holder" else None
    if found and any(_starts_own(project, found[0], one) for one in found[0].inside(found[1])):
        return f"calls {name}.{used.attr}, which starts {made.keeps}"
    return ""


def _starts_own(project: Project, source: Source, node: ast.AST) -> bool:
    """Whether this is `self.crew.kickoff()` of something that __init__ has made."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or not starts(project, source, node):
        return False
    kept = node.func.value
    if not (isinstance(kept, ast.Attribute) and isinstance(kept.value, ast.Name) and kept.value.id == "self"):
        return False
    klass = source.where[kept].klass
    values = source.attributes.get((klass.name, kept.attr), []) if klass else []
    return bool(values) and all(
        where.function and getattr(where.function, "name", "") == "__init__" for _, where in values
    )


def shared_agents(source: Source, project: Project) -> Iterator[Finding]:
    """A crew or team that is made for a run, of agents that are not."""
    if not project.service:
        return
    for call in source.of(ast.Call):
        made = kind_of(source.name(call.func))
        members = keyword(call, "agents") or keyword(call, "participants")
        if made not in ("crew", "team") or members is None:
            continue
        if source.where[call].main or (source.function(call) is None and not is_streamlit_page(source)):
            continue
        named = [one for one in ast.walk(members) if isinstance(one, ast.Name)]
        shared = [one.id for one in named if _is_shared_agent(source, project, one)]
        if shared:
            yield source.found(
                call, "F02", "error", f"each {made} that is made here has the same agents: {', '.join(shared[:3])}"
            )


def _is_shared_agent(source: Source, project: Project, name: ast.Name) -> bool:
    if is_streamlit_page(source) and name.id not in source.imports:
        return False
    made = project.made(source, name) if project.module_level(source, name) else None
    return bool(made and made.kind == "agent")


def started_twice(source: Source, project: Project) -> Iterator[Finding]:
    """One object is started several times at once by asyncio.gather or a pool of threads."""
    for call in source.of(ast.Call):
        name = source.name(call.func)
        if name in ("asyncio.gather", "asyncio.as_completed", "asyncio.wait"):
            yield from _gathered(source, project, call)
        elif (
            method(call) in SPREADS
            and call.args
            and isinstance(handed := call.args[0], ast.Attribute)
            and handed.attr in STARTS
        ):
            bound = _bound_by_comprehension(source, call) | _loop_variables(source, call)
            repeated = method(call) != "submit" or any(
                isinstance(one, ast.For | ast.ListComp) for one in source.above(call)
            )
            if repeated and isinstance(handed.value, ast.Name) and handed.value.id not in bound:
                yield source.found(
                    call,
                    "F02",
                    "error",
                    f"{handed.value.id}.{handed.attr} is started several times at once on one object",
                )


def _gathered(source: Source, project: Project, call: ast.Call) -> Iterator[Finding]:
    seen: set[str] = set()
    for argument in call.args:
        inner = argument.value if isinstance(argument, ast.Starred) else argument
        comprehension = isinstance(inner, ast.ListComp | ast.GeneratorExp)
        start = inner.elt if isinstance(inner, ast.ListComp | ast.GeneratorExp) else inner
        if (
            not isinstance(start, ast.Call)
            or not isinstance(start.func, ast.Attribute)
            or method(start) in ALREADY_COPIES
        ):
            continue
        receiver = start.func.value
        if not isinstance(receiver, ast.Name) or not starts(project, source, start):
            continue
        mine = _bound_by_comprehension(source, start) if comprehension else set()
        if (comprehension and receiver.id not in mine) or receiver.id in seen:
            yield source.found(
                call, "F02", "error", f"{receiver.id}.{method(start)} is started several times at once on one object"
            )
            return
        seen.add(receiver.id)


def _bound_by_comprehension(source: Source, node: ast.AST) -> set[str]:
    bound: set[str] = set()
    for above in source.above(node):
        if isinstance(above, ast.ListComp | ast.GeneratorExp | ast.SetComp | ast.DictComp):
            bound |= {one.id for part in above.generators for one in ast.walk(part.target) if isinstance(one, ast.Name)}
    return bound


def _loop_variables(source: Source, node: ast.AST) -> set[str]:
    """The names that are new in each turn of the loops around a node."""
    bound: set[str] = set()
    for above in source.above(node):
        if isinstance(above, ast.For):
            bound |= {one.id for one in ast.walk(above) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)}
    return bound


RULES = (shared_object, shared_agents, started_twice)
