"""The team's code on the stack: which of its lines asked for something."""

import os
import sysconfig
from collections.abc import Iterable, Iterator
from inspect import CO_ASYNC_GENERATOR, CO_COROUTINE
from pathlib import Path
from types import FrameType

STDLIB = sysconfig.get_paths()["stdlib"]
SITE = (sysconfig.get_paths()["purelib"], sysconfig.get_paths()["platlib"])
WATCHERS = str(Path(__file__).parent) + os.sep  # whose own frames are on the stack too
READERS = ("pydantic_settings", "dotenv", "environs", "decouple")  # libraries that read for their caller
READING_FILES = ("autogen/llm_config/config.py", "autogen/llm_config/utils.py")  # LLMConfig.from_json


class Team:
    """The team's code: its packages, by name, and their directories."""

    def __init__(self, places: list[Path], packages: Iterable[str] = ()) -> None:
        self.packages = tuple(packages)
        self._places = tuple(str(place.resolve()) + os.sep for place in places)

    def owns(self, filename: str) -> bool:
        """Whether a file belongs to the team's packages."""
        return filename.startswith(self._places)

    def reader(self, frame: FrameType | None) -> str | None:
        """The team's line that asked for something, directly or through a library that reads for its caller."""
        for caller in _outwards(frame):
            filename = caller.f_code.co_filename
            if self.owns(filename):
                return f"{filename}:{caller.f_lineno}"
            if not _reads_for_caller(filename):
                return None
        return None

    def starter(self, frame: FrameType | None) -> str | None:
        """The team's line if nothing but the standard library stands between it and what was started."""
        for caller in _outwards(frame):
            filename = caller.f_code.co_filename
            if self.owns(filename):
                return f"{filename}:{caller.f_lineno}"
            if not _is_stdlib(filename) and not filename.startswith(WATCHERS):
                return None
        return None

    def coroutine(self, frame: FrameType | None) -> str | None:
        """The team's innermost line if a coroutine of the team does the work, with nothing of asyncio in between."""
        where = None
        for caller in _outwards(frame):
            filename = caller.f_code.co_filename
            if f"{os.sep}asyncio{os.sep}" in filename:
                return None
            if self.owns(filename):
                where = where or f"{filename}:{caller.f_lineno}"
                if caller.f_code.co_flags & (CO_COROUTINE | CO_ASYNC_GENERATOR):
                    return where
        return None

    def nearest(self, frame: FrameType | None) -> str | None:
        """The innermost line of the team on the stack."""
        frames = ((c.f_code.co_filename, c.f_lineno) for c in _outwards(frame))
        return next((f"{name}:{line}" for name, line in frames if self.owns(name)), None)


def _outwards(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _is_stdlib(filename: str) -> bool:
    return filename.startswith((STDLIB, "<frozen")) and not filename.startswith(SITE)


def _reads_for_caller(filename: str) -> bool:
    if filename.startswith(WATCHERS) or filename == os.__file__ or filename.startswith("<frozen os"):
        return True
    if "_collections_abc" in filename or filename == "<string>" or filename.endswith(READING_FILES):
        return True
    return any(f"{os.sep}{name}{os.sep}" in filename for name in READERS)
