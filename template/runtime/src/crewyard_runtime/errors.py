"""How a failure is told: the chain of an exception as data, and the exceptions by which the runtime ends a run."""

import sysconfig
import traceback
from pathlib import Path

from pydantic import BaseModel, ValidationError

# Where a reader need not look first: the standard library and what is installed.
LIBRARIES = ("<frozen", *(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")))
RUNTIME = str(Path(__file__).parent)
MAX_LINKS = 20
MAX_TEXT = 4_000


class RunStopped(Exception):
    """A limit or a rule of the runtime ended the run; the message says which."""


class NotReady(Exception):
    """Something that a command needs is not there; the message says what, and what to do."""


class BuildRefused(Exception):
    """What the build function returned must not run; the message names the agent and what it lacks."""


class MemoryOnDisk(BuildRefused):
    """The build function asked for a memory on the container's disk."""


class OutsideSandbox(BuildRefused):
    """The build function asked for code of a model to be executed outside of the sandbox."""


class InvalidOutput(Exception):
    """The run's result does not satisfy the application's output model."""


class ErrorLink(BaseModel):
    """One exception of a chain: its type, its text, and the project's line it came by ("file.py:12 in function")."""

    type: str
    message: str
    where: str | None = None


def error_chain(error: BaseException) -> list[ErrorLink]:
    """The exception and everything it came from, outermost first; the members of a group follow the group.

    A context that `raise ... from None` hid is followed too: who looks for a cause at night wants it.
    """
    links: list[ErrorLink] = []
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting and len(links) < MAX_LINKS:
        current = waiting.pop(0)
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        links.append(_link(current))
        members = current.exceptions if isinstance(current, BaseExceptionGroup) else ()
        waiting = [*members, current.__cause__ or current.__context__, *waiting]
    return links


def _link(error: BaseException) -> ErrorLink:
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not frame.filename.startswith(LIBRARIES)] or frames
    own = [frame for frame in own if not frame.filename.startswith(RUNTIME)] or own
    where = f"{own[-1].filename}:{own[-1].lineno} in {own[-1].name}" if own else None
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    notes = getattr(error, "__notes__", [])
    return ErrorLink(type=name, message="\n".join([text_of(error), *notes])[:MAX_TEXT], where=where)


def place_of(error: BaseException) -> str | None:
    """The project's line that is nearest to what an exception came of."""
    places = [link.where for link in error_chain(error) if link.where]
    own = [place for place in places if not place.startswith((*LIBRARIES, RUNTIME))]
    return own[-1] if own else None


def problems_of(error: ValidationError, whole: str) -> str:
    """What a model refused, as "field: why; field: why"; `whole` stands for the data itself."""
    return "; ".join(f"{'.'.join(map(str, each['loc'])) or whole}: {each['msg']}" for each in error.errors())


def error_line(error: BaseException) -> str:
    """One line that tells an error: its type, and the first line of what caused it."""
    cause = error.__cause__ or error
    return f"{type(error).__name__}: {text_of(cause).strip().partition(chr(10))[0][:300]}"


def text_of(error: BaseException) -> str:
    """The text of an exception, also of one that fails while it is told."""
    try:
        return str(error)
    except Exception as failure:
        return f"(no text: {type(failure).__name__})"
