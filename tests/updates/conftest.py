"""Fixtures: the template with all its releases, and projects as each release made them."""

import functools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import copier
import pytest
from conftest import commit
from updates.releases import make_repository

Make = Callable[..., Path]


@pytest.fixture(scope="session")
def releases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A template repository with every release, and the working tree as the newest. Tests leave it as it is."""
    return make_repository(tmp_path_factory.mktemp("releases") / "crewyard")


@pytest.fixture(scope="session")
def originals(releases: Path, tmp_path_factory: pytest.TempPathFactory) -> Make:
    """The project of a release with the given answers, in git. Tests leave it as it is."""

    @functools.cache
    def make(release: str, **answers: Any) -> Path:
        place = tmp_path_factory.mktemp("original") / "my-crew"
        copier.run_copy(str(releases), place, data=answers, vcs_ref=release, defaults=True, quiet=True, unsafe=False)
        commit(place, f"as {release} makes it")
        return place

    return make


@pytest.fixture
def project_of(originals: Make, tmp_path: Path) -> Make:
    """The same, to be edited."""

    def make(release: str, name: str = "my-crew", **answers: Any) -> Path:
        place = tmp_path / name
        shutil.copytree(originals(release, **answers), place, symlinks=True)
        return place

    return make
