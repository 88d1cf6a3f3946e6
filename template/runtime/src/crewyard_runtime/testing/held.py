"""What the team's modules hold on to: on modules and classes, in closures, defaults and caches."""

import functools
import gc
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from types import CellType, FunctionType, MethodType
from typing import Any

from crewyard_runtime.testing.failures import Finding

MOST = 100_000  # objects that are looked at


# Bound to the event loop or the process that made them, by the name of a class and the package it is from.
OF_A_LOOP = {
    "asyncio": ("BaseEventLoop", "_LoopBoundMixin", "Future", "Runner", "StreamReader", "StreamWriter"),
    "aiohttp": ("ClientSession",),
    "anthropic": ("AsyncAPIClient",),
    "asyncpg": ("Connection", "Pool"),
    "grpc": ("Channel",),
    "httpx": ("AsyncClient",),
    "openai": ("AsyncAPIClient",),
    "psycopg": ("AsyncConnection",),
    "psycopg_pool": ("AsyncConnectionPool",),
    "redis": ("AsyncRedisModuleCommands",),
    "sqlalchemy": ("AsyncEngine", "AsyncSession"),
}
OF_A_PROCESS = {
    "anthropic": ("SyncAPIClient",),
    "httpx": ("Client",),
    "multiprocessing": ("BaseProcess", "Pool"),
    "openai": ("SyncAPIClient",),
    "psycopg": ("Connection",),
    "psycopg_pool": ("ConnectionPool",),
    "pymongo": ("MongoClient",),
    "redis": ("RedisModuleCommands",),
    "requests": ("Session",),
    "socket": ("socket",),
    "sqlalchemy": ("Engine", "Session"),
    "sqlite3": ("Connection",),
}


def held_texts(packages: Iterable[str], marks: list[str]) -> list[Finding]:
    """A finding for each place of the team's modules that holds a text with one of the marks."""
    found = {}
    for place, thing in _things(tuple(packages)):
        text = thing.decode(errors="replace") if isinstance(thing, bytes) else thing
        if place not in found and isinstance(text, str) and any(mark in text for mark in marks):
            found[place] = Finding(f"{place} holds what a run was given")
    return list(found.values())


def held_clients(packages: Iterable[str], when: str, *kinds: Mapping[str, tuple[str, ...]]) -> list[Finding]:
    """A finding for each place of the team's modules that holds a client, a connection or a part of an event loop."""
    found = {}
    for place, thing in _things(tuple(packages)):
        for kind in type(thing).__mro__:
            if any(kind.__name__ in named.get(_root(kind), ()) for named in kinds):
                found[place] = Finding(f"{place} holds a {_root(type(thing))}.{type(thing).__name__} {when}")
    return list(found.values())


def _root(kind: type) -> str:
    """The package of a class, also of one whose module is the C part of it (`_asyncio`)."""
    return kind.__module__.partition(".")[0].lstrip("_")


def state(packages: Iterable[str]) -> dict[str, dict[str, Any]]:
    """What the team's modules hold, as far as it is data: by the name on a module, each part of it by its path."""
    found: dict[str, dict[str, Any]] = {}
    for place, path, thing in _walk(tuple(packages)):
        if isinstance(thing, functools._lru_cache_wrapper):
            found.setdefault(place, {})[path] = thing.cache_info().currsize
        elif isinstance(thing, str | bytes | int | float | bool | None):
            found.setdefault(place, {})[path] = thing
    return found


def changes(before: dict[str, dict[str, Any]], after: dict[str, dict[str, Any]]) -> list[Finding]:
    """A finding for each name on a module whose data two states show differently."""
    return [Finding(f"{place} changes from run to run") for place in after if after[place] != before.get(place)]


def _things(packages: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    """Each thing that is held, and the name on a module by which it is reached."""
    return ((place, thing) for place, _, thing in _walk(packages))


def _walk(packages: tuple[str, ...]) -> Iterator[tuple[str, str, Any]]:
    """Each thing that is held: the name on a module by which it is reached, its path from there, and itself."""
    seen: set[int] = set()
    for name, module in list(sys.modules.items()):
        if not _is_theirs(name, packages):
            continue
        waiting = deque((f"{name}.{key}", "", value) for key, value in vars(module).items() if not key.startswith("__"))
        while waiting and len(seen) < MOST:
            place, path, thing = waiting.popleft()
            if isinstance(thing, str | bytes | int | float | bool | None):
                yield place, path, thing
            elif id(thing) not in seen:
                seen.add(id(thing))
                yield place, path, thing
                inner = _inside(thing, packages)
                waiting.extend((place, f"{path}/{number}", each) for number, each in enumerate(inner))


def _inside(thing: Any, packages: tuple[str, ...]) -> Iterable[Any]:
    """What an object holds, where the team has put it; libraries' own objects are theirs."""
    if isinstance(thing, dict):
        return [*thing.keys(), *thing.values()]
    if isinstance(thing, list | tuple | set | frozenset | deque):
        return list(thing)
    if isinstance(thing, type):
        return list(vars(thing).values()) if _is_theirs(thing.__module__, packages) else ()
    if isinstance(thing, staticmethod | classmethod | MethodType):
        return [thing.__func__, *([thing.__self__] if isinstance(thing, MethodType) else [])]
    if isinstance(thing, FunctionType):
        return _of_function(thing) if _is_theirs(thing.__module__, packages) else ()
    if isinstance(thing, CellType):
        return [thing.cell_contents] if _is_filled(thing) else ()
    if isinstance(thing, functools._lru_cache_wrapper):
        return gc.get_referents(thing)
    if _is_theirs(type(thing).__module__, packages):
        return list(getattr(thing, "__dict__", {}).values())
    return ()


def _of_function(function: FunctionType) -> list[Any]:
    kept = [function.__defaults__, function.__kwdefaults__, function.__closure__, vars(function)]
    return [each for each in kept if each]


def _is_filled(cell: CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True


def _is_theirs(module: str | None, packages: tuple[str, ...]) -> bool:
    return bool(module) and str(module).partition(".")[0] in packages
