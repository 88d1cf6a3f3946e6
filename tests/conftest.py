"""Fixtures of the template's own tests: the template as a git repository, and projects rendered from it."""

import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import copier
import jinja2
import pytest
from crewyard_runtime.testing.model_server import ModelServer

REPOSITORY = Path(__file__).parent.parent
Render = Callable[..., Path]
Projects = Callable[[str], Path]


def sh(place: Path, *command: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a project, outside of this repository's environment."""
    inherited = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "OPENAI_API_KEY")}
    done = subprocess.run(
        command,
        cwd=place,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**inherited, "UV_PYTHON": sys.executable, "UV_PYTHON_DOWNLOADS": "never", **environment},
        timeout=1_200,
    )
    if check and done.returncode != 0:
        pytest.fail(f"{' '.join(command)} ended with {done.returncode}\n{done.stdout[-6000:]}\n{done.stderr[-6000:]}")
    return done


def commit(place: Path, message: str, tag: str | None = None) -> None:
    """Commit all of a directory, as a new repository if it is none yet."""
    if not (place / ".git").exists():
        sh(place, "git", "init", "--quiet", "--initial-branch=main")
    sh(place, "git", "add", "--all")
    who = ("-c", "user.name=test", "-c", "user.email=test@example.org")
    sh(place, "git", *who, "commit", "--quiet", "--allow-empty", "-m", message)
    if tag:
        sh(place, "git", "tag", tag)


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What git would publish of this working tree, as a repository with one release."""
    place = tmp_path_factory.mktemp("template")
    listed = sh(REPOSITORY, "git", "ls-files", "--cached", "--others", "--exclude-standard", "-z").stdout
    for name in filter(None, listed.split("\0")):
        if (REPOSITORY / name).is_file() or (REPOSITORY / name).is_symlink():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, place / name, follow_symlinks=False)
    commit(place, "release", tag="0.1.0")
    return place


@pytest.fixture(scope="session", autouse=True)
def compile_once() -> Iterator[None]:
    """Copier compiles 2,700 expressions for a project, 600 different ones, and the tests render hundreds: once each."""
    original = jinja2.Environment.compile

    def compile(environment: jinja2.Environment, source: Any, *rest: Any, **more: Any) -> Any:
        known = vars(environment).setdefault("compiled", {})
        key = (id(environment), source, rest, *more.items())  # a copy of an environment has its dictionary
        if key not in known:
            known[key] = original(environment, source, *rest, **more)
        return known[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jinja2.Environment, "compile", compile)
        yield


@pytest.fixture(scope="session")
def rendered(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Render:
    """The project of the given answers, rendered without trust. Tests leave it as it is."""

    @functools.lru_cache(maxsize=None, typed=True)
    def make(**answers: Any) -> Path:
        place = tmp_path_factory.mktemp("rendered") / "project"
        copier.run_copy(str(template), place, data=answers, defaults=True, quiet=True, unsafe=False)
        return place

    return make


@pytest.fixture
def render(rendered: Render, tmp_path: Path) -> Render:
    """The same, to be edited."""

    def make(name: str = "project", **answers: Any) -> Path:
        return Path(shutil.copytree(rendered(**answers), tmp_path / name, symlinks=True))

    return make


@pytest.fixture(scope="session")
def projects(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Projects:
    """The project of each framework, all else by default, locked and installed. Tests leave them as they are."""

    @functools.cache
    def make(framework: str) -> Path:
        place = tmp_path_factory.mktemp(framework) / "my-crew"
        answers = {"framework": framework}
        copier.run_copy(str(template), place, data=answers, defaults=True, quiet=True, unsafe=False)
        sh(place, "uv", "sync", "--quiet")
        return place

    return make


@pytest.fixture(scope="session")
def project(projects: Projects) -> Path:
    """The project of the default answers."""
    return projects("crewai")


@pytest.fixture(scope="session")
def model_server_url() -> Iterator[str]:
    """The URL of a model server."""
    with ModelServer() as server:
        yield server.url
