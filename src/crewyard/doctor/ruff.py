"""What ruff knows already: blocking calls in coroutines, and requests without a timeout."""

import json
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ruff.__main__ import find_ruff_bin  # type: ignore[import-untyped]

# Blocking HTTP, processes, input and sleep; of files only open(), as a hint: a local file seldom blocks long.
BLOCKING = ("ASYNC210", "ASYNC212", "ASYNC220", "ASYNC221", "ASYNC222", "ASYNC250", "ASYNC251")
FILES = "ASYNC230"
NO_TIMEOUT = "S113"
AT_ONCE = 500  # files a call: far below the length of a command line


@dataclass(frozen=True)
class Diagnostic:
    """One of ruff's findings. line, column: from 1."""

    path: Path
    line: int
    column: int
    code: str
    message: str


def diagnostics(files: Sequence[Path]) -> Iterator[Diagnostic]:
    """Ruff's findings, whatever the project's own configuration says. Raises OSError if ruff does not start."""
    for start in range(0, len(files), AT_ONCE):
        command = [find_ruff_bin(), "check", "--isolated", "--no-cache", "--ignore-noqa", "--exit-zero", "--quiet"]
        command += [
            "--no-respect-gitignore",
            "--output-format",
            "json",
            "--select",
            ",".join((*BLOCKING, FILES, NO_TIMEOUT)),
        ]
        done = subprocess.run(
            [*command, "--", *map(str, files[start : start + AT_ONCE])], capture_output=True, check=False
        )
        yield from _parsed(done.stdout)


def _parsed(output: bytes) -> Iterator[Diagnostic]:
    try:
        items = json.loads(output or b"[]")
    except ValueError as error:
        msg = "ruff gave no JSON"
        raise OSError(msg) from error
    for item in items:
        if item.get("code") in (*BLOCKING, FILES, NO_TIMEOUT):
            place = item["location"]
            yield Diagnostic(Path(item["filename"]), place["row"], place["column"], item["code"], item["message"])
