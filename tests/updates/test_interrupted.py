"""Updates that are cut short leave a project that can be what it was, and be updated again."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import commit
from updates.conftest import Make
from updates.looked_at import contents
from updates.releases import head

from crewyard.__main__ import main

OLD = "0.4.0"
MOMENTS = (0.2, 0.5, 0.8, 0.95)  # of the time that a whole update takes
SMALL = "8m,nr_inodes=20000"  # a disk that holds the project and no update of it


def started(project: Path, *arguments: str, **environment: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "crewyard", "update", str(project), "--yes", *arguments],
        env={**os.environ, "UV_PYTHON": sys.executable, "UV_PYTHON_DOWNLOADS": "never", **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def said(process: "subprocess.Popen[bytes]") -> str:
    return process.communicate(timeout=300)[0].decode()


def is_updated(project: Path) -> bool:
    return f"_commit: {head()}\n" in (project / ".copier-answers.yml").read_text()


@pytest.fixture(scope="module")
def seconds(originals: Make, tmp_path_factory: pytest.TempPathFactory) -> float:
    """What a whole update takes here, now."""
    place = tmp_path_factory.mktemp("timed") / "my-crew"
    subprocess.run(["cp", "-a", str(originals(OLD)), str(place)], check=True)
    begun = time.monotonic()
    assert said(started(place, "--no-lock"))
    return time.monotonic() - begun


@pytest.mark.parametrize("part", MOMENTS)
def test_a_killed_update_can_be_taken_back_and_done_again(project_of: Make, seconds: float, part: float) -> None:
    project = project_of(OLD)
    before = contents(project)
    process = started(project, "--no-lock")
    time.sleep(seconds * part)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    (project / ".git/index.lock").unlink(missing_ok=True)  # git itself says so: nobody else works here
    if contents(project) != before:
        assert main(["update", str(project), "--yes", "--no-lock"]) == 2
    if main(["update", str(project), "--back", "--yes"]) != 0:
        assert contents(project) == before  # it was not begun
    assert contents(project) == before
    assert main(["update", str(project), "--yes", "--no-lock"]) == 0
    assert is_updated(project)


def test_an_interrupted_update_takes_itself_back(project_of: Make, seconds: float) -> None:
    project = project_of(OLD)
    before = contents(project)
    process = started(project, "--no-lock")
    time.sleep(seconds * 0.8)
    process.send_signal(signal.SIGINT)
    said(process)
    assert contents(project) == before or is_updated(project)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system that is nearly full with one project."""
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SMALL}", "crewyard-test", str(place)], check=True)
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_a_full_disk_leaves_the_project_as_it_was(originals: Make, small_disk: Path) -> None:
    project = small_disk / "my-crew"
    subprocess.run(["cp", "-a", str(originals(OLD)), str(project)], check=True)
    before = contents(project)
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    with filler.open("r+b") as file:
        file.truncate(filler.stat().st_size - 60_000)  # room to begin, not to end
    process = started(project, "--no-lock", "--on-failure", "back")
    words = said(process)
    assert process.returncode in (1, 2), words
    assert "No space left" in words
    assert "Traceback" not in words
    filler.unlink()
    if contents(project) != before:
        assert main(["update", str(project), "--back", "--yes"]) == 0
    assert contents(project) == before
    assert main(["update", str(project), "--yes", "--no-lock"]) == 0
    assert is_updated(project)


def test_without_a_network_the_lock_is_left_and_the_update_can_be_done_again(project_of: Make, tmp_path: Path) -> None:
    project = project_of(OLD)
    before = contents(project)
    offline = {"UV_OFFLINE": "1", "UV_CACHE_DIR": str(tmp_path / "cache")}
    process = started(project, **offline)
    words = said(process)
    assert process.returncode == 1, words
    assert "`uv lock` ended with" in words
    assert is_updated(project)
    assert main(["update", str(project), "--back", "--yes"]) == 0
    assert contents(project) == before
    assert main(["update", str(project), "--yes", "--no-lock"]) == 0


def test_the_lock_keeps_the_teams_pins_and_the_tests_run(project_of: Make) -> None:
    """The one update here that locks and tests, as a team does it."""
    project = project_of(OLD)
    locked = {**os.environ, "UV_PYTHON": sys.executable, "UV_PYTHON_DOWNLOADS": "never"}
    for command in (["uv", "add", "--quiet", "--no-sync", "idna==3.6"], ["uv", "lock", "--quiet"]):
        subprocess.run(command, cwd=project, env=locked, check=True)
    commit(project, "pinned")
    process = started(project)
    words = said(process)
    assert process.returncode == 0, words
    assert " passed" in words
    assert 'name = "idna"\nversion = "3.6"' in (project / "uv.lock").read_text()
