"""A Docker daemon for the tests, and an image made of this machine's own files: none is pulled."""

import io
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

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
    """The URL of a daemon that runs nothing else, with the image."""
    # Not in pytest's directory: the path of a socket has at most 107 characters.
    place = Path(tempfile.mkdtemp(prefix="dockerd-"))
    url = f"unix://{place}/docker.sock"
    with (place / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                *("dockerd", "--host", url, "--pidfile", f"{place}/pid", "--iptables=false", "--bridge=none"),
                *("--data-root", f"{place}/data", "--exec-root", f"{place}/exec"),
            ],
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        _wait_until_it_answers(process, url, place / "log")
        docker(url, "import", "-", IMAGE, stdin=_image())
        yield url
    finally:
        _end(process, place)


def docker(url: str, *arguments: str, stdin: bytes = b"") -> str:
    """What `docker` prints, on this daemon."""
    done = subprocess.run(
        ["docker", "--host", url, *arguments], input=stdin, capture_output=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().strip()


def _wait_until_it_answers(process: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    end = time.monotonic() + PATIENCE
    while subprocess.run(["docker", "--host", url, "version"], capture_output=True, check=False).returncode != 0:
        assert process.poll() is None, log.read_text()[-3_000:]
        assert time.monotonic() < end, log.read_text()[-3_000:]
        time.sleep(0.05)


def _end(process: "subprocess.Popen[bytes]", place: Path) -> None:
    """It ends its containers and its containerd when it is asked to end."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(PATIENCE)
    process.kill()
    process.wait()
    for line in reversed(Path("/proc/self/mountinfo").read_text().splitlines()):
        if (mounted := line.split()[4]).startswith(f"{place}/"):
            subprocess.run(["umount", "--lazy", mounted], check=False)
    shutil.rmtree(place, ignore_errors=True)


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
