"""What the team's modules hold on to: texts on modules and classes, in closures, defaults and caches."""

import functools
import gc
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from types import CellType, FunctionType, MethodType
from typing import Any

from crewyard_runtime.testing.failures import Finding

MOST = 100_000  # objects that are looked at


def held_texts(packages: Iterable[str], marks: list[str]) -> list[Finding]:
    """A finding for each place of the team's modules that holds a text with one of the marks."""
    found = {}
    for place, text in _texts(tuple(packages)):
        if place not in found and any(mark in text for mark in marks):
            found[place] = Finding(f"{place} holds what a run was given")
    return list(found.values())


def _texts(packages: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Each text, and the name on a module by which it is reached."""
    seen: set[int] = set()
    for name, module in list(sys.modules.items()):
        if not _is_theirs(name, packages):
            continue
        waiting = deque((f"{name}.{key}", value) for key, value in vars(module).items() if not key.startswith("__"))
        while waiting and len(seen) < MOST:
            place, thing = waiting.popleft()
            if isinstance(thing, str):
                yield place, thing
            elif isinstance(thing, bytes):
                yield place, thing.decode(errors="replace")
            elif id(thing) not in seen:
                seen.add(id(thing))
                waiting.extend((place, inner) for inner in _inside(thing, packages))


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
