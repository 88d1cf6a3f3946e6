"""What is installed is locked and has aged, and an image of it does not run as root."""

from pathlib import Path

import pytest
from crewyard_runtime.testing.failures import guard
from crewyard_runtime.testing.repository import of_the_image, unlocked

PROJECT = Path.cwd()


@pytest.mark.guards("F20")
def test_packages_are_locked_and_have_aged() -> None:
    guard("F20", unlocked(PROJECT))


@pytest.mark.guards("F20")
def test_an_image_is_locked_and_not_run_by_root() -> None:
    guard("F20", of_the_image(PROJECT))
