"""What a lock may name: nothing that was published in the last three days, and nothing that an image must compile."""

import hashlib
import io
import json
import shutil
import threading
import tomllib
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from conftest import sh
from packaging.requirements import Requirement
from packaging.tags import compatible_tags, cpython_tags
from packaging.utils import parse_wheel_filename

PROBE = "crewyard-probe"  # on no other index
AGES = {"1.0": timedelta(days=30), "2.0": timedelta(hours=1)}
NEEDS_ANOTHER_LOCK = "The lockfile at `uv.lock` needs to be updated"
PYTHONS = ("3.11", "3.12", "3.13")
MACHINES = ("x86_64", "aarch64")
GLIBC = 36  # of Debian 12, on which the image is built: 2.36


def wheel(version: str) -> bytes:
    """The smallest package that can be installed."""
    content = io.BytesIO()
    described = f"crewyard_probe-{version}.dist-info"
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr(f"{described}/METADATA", f"Metadata-Version: 2.1\nName: {PROBE}\nVersion: {version}\n")
        archive.writestr(f"{described}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{described}/RECORD", "")
    return content.getvalue()


def page() -> dict[str, Any]:
    """The package's page, as PEP 691 has it, with the moments of PEP 700."""
    files = [
        {
            "filename": f"crewyard_probe-{version}-py3-none-any.whl",
            "url": f"/files/crewyard_probe-{version}-py3-none-any.whl",
            "hashes": {"sha256": hashlib.sha256(wheel(version)).hexdigest()},
            "size": len(wheel(version)),
            "upload-time": (datetime.now(UTC) - age).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        for version, age in AGES.items()
    ]
    return {"meta": {"api-version": "1.1"}, "name": PROBE, "versions": list(AGES), "files": files}


class Index(BaseHTTPRequestHandler):
    """A package index with one package; it does not know any other, and is asked for all."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        name = self.path.rpartition("/")[2]
        if self.path == f"/simple/{PROBE}/":
            self._send(200, "application/vnd.pypi.simple.v1+json", json.dumps(page()).encode())
        elif name.endswith(".whl"):
            self._send(200, "application/octet-stream", wheel(name.split("-")[1]))
        else:
            self._send(404, "text/plain", b"")

    def do_HEAD(self) -> None:
        self.do_GET()

    def _send(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing is printed."""


@pytest.fixture(scope="module")
def index() -> Iterator[str]:
    """The URL of the index."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Index) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/simple"
        server.shutdown()


@pytest.fixture
def place(project: Path, tmp_path: Path, index: str) -> Path:
    """The default project with its lock, and with the index beside its own."""
    place = tmp_path / "project"
    shutil.copytree(project, place, ignore=shutil.ignore_patterns(".venv"))
    written = (place / "pyproject.toml").read_text()
    (place / "pyproject.toml").write_text(f'{written}\n[[tool.uv.index]]\nname = "probes"\nurl = "{index}"\n')
    sh(place, "uv", "lock", "--locked")
    return place


def locked(place: Path) -> str | None:
    """The version of the probe that the lock names."""
    packages = tomllib.loads((place / "uv.lock").read_text())["package"]
    return next((package["version"] for package in packages if package["name"] == PROBE), None)


def test_what_is_old_enough_is_taken(place: Path) -> None:
    sh(place, "uv", "add", "--no-sync", PROBE)
    assert locked(place) == "1.0"


def test_what_is_new_is_refused(place: Path) -> None:
    done = sh(place, "uv", "add", "--no-sync", f"{PROBE}==2.0", check=False)
    assert done.returncode != 0
    assert PROBE in done.stderr
    assert locked(place) is None


def test_a_lock_of_another_policy_is_refused(place: Path) -> None:
    ours = (place / "pyproject.toml").read_text()
    (place / "pyproject.toml").write_text(ours.replace('exclude-newer = "3 days"', 'exclude-newer = "1 day"'))
    sh(place, "uv", "lock")
    (place / "pyproject.toml").write_text(ours)
    assert_refused(place)


@pytest.mark.parametrize("override", [("--exclude-newer", "0 days"), ("--exclude-newer-package", f"{PROBE}=0 days")])
def test_a_lock_that_names_what_is_new_is_refused(place: Path, override: tuple[str, str]) -> None:
    sh(place, "uv", "add", "--no-sync", PROBE)
    sh(place, "uv", "lock", "--upgrade-package", PROBE, *override)
    assert locked(place) == "2.0"
    assert_refused(place)


def assert_refused(place: Path) -> None:
    """An image is not built of such a lock, and whoever builds it reads what to do."""
    done = sh(place, "uv", "sync", "--locked", check=False)
    assert done.returncode != 0
    assert NEEDS_ANOTHER_LOCK in done.stderr
    assert "run `uv lock`" in done.stderr
    assert not list(place.glob(".venv/lib/*/site-packages/crewai"))


def environment(python: str, machine: str) -> dict[str, str]:
    """What the markers of a lock are compared with, in an image."""
    return {
        "implementation_name": "cpython",
        "os_name": "posix",
        "platform_machine": machine,
        "platform_python_implementation": "CPython",
        "platform_system": "Linux",
        "python_full_version": f"{python}.0",
        "python_version": python,
        "sys_platform": "linux",
    }


@pytest.fixture(scope="module")
def named(project: Path) -> list[tuple[Requirement, str, list[str]]]:
    """What the lock names, dependencies of development too: each requirement, its version, the names of its wheels."""
    listed = sh(
        project, "uv", "export", "--frozen", "--no-hashes", "--no-annotate", "--no-header", "--no-emit-workspace"
    )
    packages = tomllib.loads((project / "uv.lock").read_text())["package"]
    wheels = {
        (package["name"], package["version"]): [each["url"].rpartition("/")[2] for each in package.get("wheels", [])]
        for package in packages
        if "version" in package
    }
    requirements = [Requirement(line) for line in listed.stdout.splitlines()]
    versions = [str(requirement.specifier).removeprefix("==") for requirement in requirements]
    return [
        (requirement, version, wheels[requirement.name, version])
        for requirement, version in zip(requirements, versions, strict=True)
    ]


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("python", PYTHONS)
def test_nothing_must_be_compiled(named: list[tuple[Requirement, str, list[str]]], python: str, machine: str) -> None:
    version = tuple(map(int, python.split(".")))
    platforms = [f"manylinux_2_{minor}_{machine}" for minor in range(GLIBC, 4, -1)]
    platforms += [f"manylinux2014_{machine}", f"manylinux2010_{machine}", f"manylinux1_{machine}", f"linux_{machine}"]
    interpreter = f"cp{python.replace('.', '')}"
    fit = {*cpython_tags(version, platforms=platforms), *compatible_tags(version, interpreter, platforms)}
    here = environment(python, machine)
    wanted = [each for each in named if not each[0].marker or each[0].marker.evaluate(here)]
    assert len(wanted) > 100
    without = [
        f"{requirement.name} {version}"
        for requirement, version, wheels in wanted
        if not any(fit & parse_wheel_filename(wheel)[3] for wheel in wheels)
    ]
    assert not without, f"without a wheel for Python {python} on {machine}: {', '.join(without)}"
