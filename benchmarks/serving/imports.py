"""What the gateway's imports cost, against those of what every such gateway imports."""

import statistics
import subprocess
import sys
from collections.abc import Iterator

from report import Measured

from serving.ground import Ground

TURNS = 15
OURS = "crewyard_runtime.api.app"
THEIRS = "fastapi, sqlalchemy.ext.asyncio, celery"


def measure(ground: Ground) -> Iterator[Measured]:
    """Seconds of CPU in fresh interpreters, in turns; the first turn is not counted: it compiles modules."""
    seconds = [(_seconds(OURS), _seconds(THEIRS)) for _ in range(1 + TURNS)][1:]
    ours, theirs = (statistics.median(side) for side in zip(*seconds, strict=True))
    yield Measured("import of the gateway", ours, theirs, "s", 1.3)


def _seconds(modules: str) -> float:
    timed = f"import time; start = time.process_time(); import {modules}; print(time.process_time() - start)"
    return float(subprocess.run([sys.executable, "-c", timed], check=True, capture_output=True, text=True).stdout)
