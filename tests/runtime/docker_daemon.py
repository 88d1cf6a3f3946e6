"""A Docker daemon for the tests, and an image made of this machine's own files: none is pulled."""

import io
import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deployment.engine import engine

PATIENCE = 30  # seconds
IMAGE = "crewyard/python:0.0.1"
PYTHON = Path("/usr/bin/python3")
COMMANDS = ("sh", "cat", "sleep", "rm")
LEFT_OUT = re.compile(r"/(test|tests|idlelib|__pycache__|ensurepip|lib2to3|pydoc_data|config-[^/]*)(/|$)")


def reason_against() -> str | None:
    """Why this machine cannot run a daemon; None if it can."""
    if os.geteuid() != 0:
        return "Docker's daemon needs root"
    missing = [name for name in ("dockerd", "containerd", "docker") if shutil.which(name) is None]
    if missing:
        return f"there is no {' and no '.join(missing)}: apt-get install docker.io"
    if not PYTHON.exists():
        return f"there is no {PYTHON} to make an image of"
    return None


@contextmanager
def docker_daemon() -> Iterator[str]:
    """The URL of a daemon that runs nothing else, with the image.

    Its containers have no network. It has a bridge all the same: a daemon that is told to have none deletes
    `docker0` at its start, and with it the network of every other daemon of the machine.
    """
    with engine("--iptables=false") as found:
        docker(found.url, "import", "-", IMAGE, stdin=_image())
        yield found.url


def docker(url: str, *arguments: str, stdin: bytes = b"") -> str:
    """What `docker` prints, on this daemon."""
    done = subprocess.run(
        ["docker", "--host", url, *arguments], input=stdin, capture_output=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().strip()


def _image() -> bytes:
    """A root directory as a tar: Python and its library, a shell, three commands, and the shared libraries of all."""
    library = next(iter(sorted(Path("/usr/lib").glob(PYTHON.resolve().name))))
    programs = [Path("/bin", name) for name in COMMANDS]
    extensions = [path for path in library.rglob("*.so") if not LEFT_OUT.search(str(path))]
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", dereference=True) as tar:
        for name in ("proc", "sys", "dev", "etc", "tmp"):
            tar.addfile(_directory(name))
        tar.add(PYTHON, "usr/bin/python3")
        tar.add(library, str(library)[1:], filter=_kept)
        for program in programs:
            tar.add(program, f"bin/{program.name}")
        for path in sorted(_libraries([PYTHON, *programs, *extensions])):
            tar.add(path, path[1:])
    return packed.getvalue()


def _directory(name: str) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.mode = tarfile.DIRTYPE, 0o755
    return made


def _kept(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if LEFT_OUT.search(f"/{member.name}") else member


def _libraries(programs: list[Path]) -> set[str]:
    """The shared libraries that programs load, at the paths where they look for them."""
    said = subprocess.run(["ldd", *map(str, programs)], capture_output=True, text=True, check=False).stdout
    return set(re.findall(r"(?:=> |^\s+)(/\S+) \(0x", said, re.MULTILINE))
