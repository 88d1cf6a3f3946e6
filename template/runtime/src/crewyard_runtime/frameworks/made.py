"""What a run has made: noted as it is made, so that the parts of a closure are judged like those of a team."""

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

from crewyard_runtime.application import Application
from crewyard_runtime.context import RunContext, active_run
from crewyard_runtime.errors import BuildRefused

# What is wrong with a part, as exceptions with one sentence each.
Judge = Callable[[object, RunContext], Iterable[BuildRefused]]


def note_made(kinds: Iterable[type], then: Callable[[Any], None] = lambda thing: None) -> None:
    """Note on its run whatever is made of these classes from now on, and call `then` with it; outside of a run nothing.

    Once a process: a class that notes already is left as it is.
    """
    for kind in kinds:
        made: Callable[..., None] = kind.__init__  # type: ignore[misc]
        if not hasattr(made, "noted_by_crewyard"):
            kind.__init__ = _noting(made, then)  # type: ignore[misc]


def _noting(made: Callable[..., None], then: Callable[[Any], None]) -> Callable[..., None]:
    @wraps(made)
    def init(thing: Any, *args: Any, **kwargs: Any) -> None:
        made(thing, *args, **kwargs)
        run = active_run()
        if run is not None and not any(each is thing for each in run.made):  # a subclass calls its base's
            run.made.append(thing)
            then(thing)

    init.noted_by_crewyard = True  # type: ignore[attr-defined]
    return init


def refuse_made(run: RunContext, judge: Judge, more: Iterable[BuildRefused] = ()) -> None:
    """Raise BuildRefused, or what is derived of it, with every sentence about what the run has made."""
    problems = [*(problem for thing in run.made for problem in judge(thing, run)), *more]
    if problems:
        refusal: BuildRefused | None = None
        for kind in dict.fromkeys(map(type, problems)):  # one for each kind, each the cause of the next
            refusal, before = kind(" ".join(dict.fromkeys(map(str, problems)))), refusal
            refusal.__cause__ = before
        assert refusal is not None
        raise refusal


def refuse_kind(application: Application, built: object, kinds: dict[str, type]) -> None:
    """Raise BuildRefused for what cannot be run: no function, and none of `kinds`, named as a reader knows them."""
    if not isinstance(built, tuple(kinds.values())) and not callable(built):
        named = f"{', '.join(kinds)} or a function without arguments"
        msg = f"{application.build} returned a {type(built).__name__}: return {named}."
        raise BuildRefused(msg)
