"""A container engine for the tests, and stand-ins for the images that a project names: none can be pulled here."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from crewyard_runtime.embedded import postgres_programs, valkey_program

IMAGES = Path(__file__).parent / "images"
PROGRAMS = ("dockerd", "docker", "docker-compose", "debootstrap")
START_SECONDS = 60
BUILD_SECONDS = 900
# What Debian's Python needs of the base; the official image has it too.
LIBRARIES = (
    "ca-certificates,libbz2-1.0,libexpat1,libffi8,liblzma5,libncursesw6,libreadline8,libsqlite3-0,libssl3,libuuid1,"
    "netbase,tzdata,zlib1g"
)
NOT_IN_SLIM = ("site-packages", "test", "tests", "idlelib", "__pycache__", "config-3*")
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"


def reason_against() -> str | None:
    """Why this machine cannot run an engine with images of our own; None if it can."""
    if os.geteuid() != 0:
        return "Docker's daemon and debootstrap need root"
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        return f"there is no {' and no '.join(missing)}: apt-get install docker.io docker-compose debootstrap"
    return None


@dataclass(frozen=True)
class Engine:
    """A Docker daemon. url: where it listens."""

    url: str

    def docker(self, *arguments: str, check: bool = True, stdin: bytes | None = None, seconds: float = 120) -> str:
        """What `docker` prints, its complaints after it. Fails if it ends with another code than 0."""
        return self.call("docker", *arguments, check=check, stdin=stdin, seconds=seconds).stdout

    def call(
        self,
        *command: str,
        check: bool = True,
        stdin: bytes | None = None,
        seconds: float = 120,
        cwd: Path | None = None,
        **environment: str,
    ) -> subprocess.CompletedProcess[str]:
        """A command that talks to this daemon."""
        done = subprocess.run(
            command,
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=seconds,
            check=False,
            cwd=cwd,
            env={**os.environ, "DOCKER_HOST": self.url, "DOCKER_BUILDKIT": "0", **environment},
        )
        said = subprocess.CompletedProcess(command, done.returncode, done.stdout.decode(errors="replace"))
        assert not check or done.returncode == 0, f"{' '.join(command)} ended with {done.returncode}\n{said.stdout}"
        return said


@contextmanager
def engine(*options: str) -> Iterator[Engine]:
    """A daemon that runs nothing else, started with these options; all that it made is gone at the end."""
    # Not in pytest's directory: the path of a socket has at most 107 characters.
    place = Path(tempfile.mkdtemp(prefix="engine-"))
    found = Engine(f"unix://{place}/docker.sock")
    with (place / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                *("dockerd", "--host", found.url, "--pidfile", f"{place}/pid"),
                *("--data-root", f"{place}/data", "--exec-root", f"{place}/exec", *options),
            ],
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        _wait_until_it_answers(process, found, place / "log")
        yield found
    finally:
        _end(process, found, place)


def _wait_until_it_answers(process: "subprocess.Popen[bytes]", found: Engine, log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while found.call("docker", "version", check=False).returncode != 0:
        assert process.poll() is None, log.read_text()[-3_000:]
        assert time.monotonic() < end, log.read_text()[-3_000:]
        time.sleep(0.1)


def _end(process: "subprocess.Popen[bytes]", found: Engine, place: Path) -> None:
    with suppress(subprocess.TimeoutExpired):
        if containers := found.docker("ps", "--all", "--quiet", check=False).split():
            found.docker("rm", "--force", *containers, check=False)
        found.docker("network", "prune", "--force", check=False)
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(START_SECONDS)
    process.kill()
    process.wait()
    for line in reversed(Path("/proc/self/mountinfo").read_text().splitlines()):
        if (mounted := line.split()[4]).startswith(f"{place}/"):
            subprocess.run(["umount", "--lazy", mounted], check=False)
    shutil.rmtree(place, ignore_errors=True)


def images_of(project: Path) -> dict[str, str]:
    """The images that a project names, by the last part of their names."""
    files = (project / "Dockerfile").read_text() + (project / "compose.yaml").read_text()
    tags = re.findall(r"(?:_IMAGE=|image: )(\S+[:@]\S+)", files)
    return {tag.rpartition(":")[0].rpartition("/")[2]: tag for tag in tags}


def make_base(found: Engine, tag: str, place: Path) -> None:
    """An image like python:X.Y.Z-slim, of Debian's packages and of the Python that runs the tests."""
    root = place / "root"
    mirror = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)"], capture_output=True, text=True, check=True
    ).stdout.split()[0]
    made = ["debootstrap", "--variant=minbase", f"--include={LIBRARIES}", "bookworm", str(root), mirror]
    subprocess.run(made, check=True, capture_output=True)
    for left in ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/man", "usr/share/locale", "var/log"):
        shutil.rmtree(root / left)
        (root / left).mkdir()
    (root / "var/cache/apt/archives/partial").mkdir(parents=True)
    # Who stands between this machine and the package indexes is trusted by the image as by the machine.
    shutil.copy(CERTIFICATES, root / CERTIFICATES[1:])
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    home = Path(sys.base_prefix)
    (root / "usr/local/bin").mkdir(parents=True, exist_ok=True)
    shutil.copy(home / "bin" / version, root / "usr/local/bin" / version)
    shutil.copytree(
        home / "lib" / version,
        root / "usr/local/lib" / version,
        symlinks=True,
        ignore=shutil.ignore_patterns(*NOT_IN_SLIM),
    )
    (root / "usr/local/lib" / version / "site-packages").mkdir()
    for library in (home / "lib").glob("libpython*.so*"):
        shutil.copy(library, root / "usr/local/lib", follow_symlinks=False)
    for link, target in (("python3", version), ("python", "python3")):
        (root / "usr/local/bin" / link).symlink_to(target)
    subprocess.run(["chroot", str(root), "ldconfig"], check=True)
    _import(
        found,
        tag,
        root,
        "ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin",
        f"ENV SSL_CERT_FILE={CERTIFICATES}",
    )
    shutil.rmtree(root)


def make_uv(found: Engine, tag: str, place: Path) -> None:
    """An image like uv's own: nothing but the program."""
    root = place / "uv"
    root.mkdir()
    shutil.copy(uv_program(), root / "uv")
    _import(found, tag, root)


def make_client(found: Engine, tag: str, place: Path) -> None:
    """An image like docker's own, as far as a project takes something of it: the client."""
    root = place / "client"
    (root / "usr/local/bin").mkdir(parents=True)
    shutil.copy(str(shutil.which("docker")), root / "usr/local/bin/docker")
    _import(found, tag, root)


def make_server(found: Engine, name: str, tag: str, base: str, place: Path) -> None:
    """An image of a server, from images/`name`."""
    context = place / name
    shutil.copytree(IMAGES / name, context)
    if name == "postgres":
        installed = postgres_programs().parent
        libraries = installed.parent.with_name(f"{installed.parent.name}.libs")
        shutil.copytree(installed, context / "wheel" / installed.parent.name / "postgres", symlinks=True)
        shutil.copytree(libraries, context / "wheel" / libraries.name, symlinks=True)
        subprocess.run(["chmod", "--recursive", "a+rX", str(context)], check=True)
    elif name == "valkey":
        shutil.copy(valkey_program(), context / "valkey-server")
    elif name == "moto":
        shutil.copy(uv_program(), context / "uv")
    found.docker("build", "--tag", tag, "--build-arg", f"BASE={base}", str(context), seconds=BUILD_SECONDS)


def uv_program() -> str:
    """The uv that runs these tests."""
    given = os.environ.get("UV") or shutil.which("uv")
    assert given, "there is no uv"
    return given


def _import(found: Engine, tag: str, root: Path, *changes: str) -> None:
    options = [part for change in changes for part in ("--change", change)]
    packed = subprocess.Popen(["tar", "--create", "--directory", str(root), "."], stdout=subprocess.PIPE)
    with packed as tar:
        done = subprocess.run(
            ["docker", "--host", found.url, "import", *options, "-", tag],
            stdin=tar.stdout,
            capture_output=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr.decode()
