"""An application whose runs try to get at a file, each by one way; the tests of closed directories run it."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

from crewyard_runtime import Application, ApplicationSettings, RunContext
from pydantic import BaseModel


class Order(BaseModel):
    """The file, and the way to it."""

    file: Path
    way: str = "as it is"


class Seen(BaseModel):
    """What was read, or why nothing was; whether the process has given up a right for good."""

    text: str = ""
    refused: str = ""
    bound: bool


def _by_a_link(file: Path) -> str:
    Path("link").symlink_to(file)
    return Path("link").read_text()


def _by_a_hard_link(file: Path) -> str:
    Path("hard").hardlink_to(file)
    return Path("hard").read_text()


def _by_moving_its_directory(file: Path) -> str:
    return (file.parent.rename("moved") / file.name).read_text()


def _by_another_program(file: Path) -> str:
    return _said("cat", str(file))


def _by_a_mount(file: Path) -> str:
    Path("mounted").mkdir()
    return _said("unshare", "--mount", "sh", "-c", f"mount --bind {file.parent} mounted && cat mounted/{file.name}")


def _said(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise OSError(done.stderr.strip())
    return done.stdout


def _by_a_move_of_its_own(file: Path) -> str:
    """What runs do with files of their own: from one directory to another, by moving and by a hard link."""
    Path("mine").write_text(file.read_text())
    Path("below").mkdir()
    Path("mine").rename("below/moved")
    Path("linked").hardlink_to("below/moved")
    return Path("linked").read_text()


WAYS: dict[str, Callable[[Path], str]] = {
    "as it is": Path.read_text,
    "by a link": _by_a_link,
    "by a hard link": _by_a_hard_link,
    "by moving it": lambda file: file.rename("moved").read_text(),
    "by moving its directory": _by_moving_its_directory,
    "by the root of its process": lambda file: Path(f"/proc/self/root{file}").read_text(),
    "by the root of the worker": lambda file: Path(f"/proc/{_worker()}/root{file}").read_text(),
    "by another program": _by_another_program,
    "by a mount": _by_a_mount,
}
OF_ITS_OWN = {"by a move of its own": _by_a_move_of_its_own}


def _worker() -> str:
    """The parent of the fork server."""
    return Path(f"/proc/{os.getppid()}/stat").read_text().rpartition(")")[2].split()[1]


def build(run: RunContext[ApplicationSettings, Order]) -> Callable[[], Seen]:
    """The run as a function."""

    def look() -> Seen:
        bound = "NoNewPrivs:\t1" in Path("/proc/self/status").read_text()
        try:
            return Seen(text=(WAYS | OF_ITS_OWN)[run.input.way](run.input.file), bound=bound)
        except OSError as error:
            return Seen(refused=str(error), bound=bound)

    return look


application = Application(name="reading", input=Order, output=Seen, build="runtime.reading:build")
