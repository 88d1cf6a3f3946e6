"""The declaration of an application: what it takes, what it gives and which function builds its agents."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from importlib.resources import files
from typing import Any

from pydantic import BaseModel

from crewyard_runtime.settings import ApplicationSettings

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
ENTRY_POINTS = "crewyard.applications"


@dataclass(frozen=True)
class Application:
    """One kind of run that a project offers.

    name: how commands and logs call it.
    input, output: Pydantic models; both cross process borders as JSON.
    build: "package.module:function"; the function takes a `RunContext` and returns what is to be run (a crew, a flow).
        It is text, so that nothing of the framework is imported before a run needs it.
    settings: the variables that the team's own code needs, validated before anything starts.
    may_remember: "package.module:function" in place of the filter that lets no keys and tokens into the memory; the
        function takes a text and says whether it may be kept. `crewyard_runtime.memory` has the filter, to call it too.
    examples: a file of inputs, one JSON object a line, as "package/path/in/it.jsonl"; for demo and tests.
    """

    name: str
    input: type[BaseModel]
    output: type[BaseModel]
    build: str
    settings: type[ApplicationSettings] = ApplicationSettings
    examples: str | None = None
    may_remember: str | None = None

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            msg = f"Application(name={self.name!r}) cannot be part of a path: use letters, digits, '.', '_' and '-'."
            raise ValueError(msg)
        for name, path in {"build": self.build, "may_remember": self.may_remember}.items():
            if path is not None and not all(path.partition(":")[::2]):
                msg = f'Application({name}="{path}") is not of the form "package.module:function".'
                raise ValueError(msg)

    @property
    def build_module(self) -> str:
        """The module of the build function; importing it may import the framework."""
        return self.build.partition(":")[0]

    @property
    def package(self) -> str:
        """The team's package: the top-level name of the build function's module."""
        return self.build_module.partition(".")[0]

    def load_build(self) -> Any:
        """Import and return the build function. Raises what the import raises, and AttributeError for a wrong name."""
        return _load(self.build)

    def load_may_remember(self) -> Callable[[str], bool] | None:
        """Import and return that function, if there is one; raises the same."""
        return None if self.may_remember is None else _load(self.may_remember)

    def example_lines(self) -> list[str]:
        """The lines of the examples file, blank ones left out; empty if the application names none."""
        if self.examples is None:
            return []
        package, _, path = self.examples.partition("/")
        return [line for line in files(package).joinpath(path).read_text("utf-8-sig").split("\n") if line.strip()]


def _load(path: str) -> Any:
    module, _, function = path.partition(":")
    return getattr(import_module(module), function)


class NoApplication(LookupError):
    """The project declares no application, several where one is needed, or none of that name."""


def find_applications() -> dict[str, Application]:
    """Every application that an installed project declares under the entry point `crewyard.applications`, by name."""
    found: dict[str, Application] = {}
    for point in entry_points(group=ENTRY_POINTS):
        try:
            application = point.load()
        except (Exception, SystemExit) as error:
            msg = f"The entry point {point.name} = {point.value!r} cannot be imported: {type(error).__name__}: {error}"
            raise NoApplication(msg) from error
        if not isinstance(application, Application):
            msg = (
                f"The entry point {point.name} = {point.value!r} is a {type(application).__name__}, not an Application."
            )
            raise NoApplication(msg)
        found[application.name] = application
    return found


def find_application(name: str | None = None) -> Application:
    """The application called `name`, or the only one. Raises NoApplication with what to do."""
    found = find_applications()
    if not found:
        msg = f'No application is declared: add one under [project.entry-points."{ENTRY_POINTS}"] in pyproject.toml.'
        raise NoApplication(msg)
    if name is None and len(found) == 1:
        return next(iter(found.values()))
    if name not in found:
        said = "Several applications are declared" if name is None else f"There is no application {name!r}"
        msg = f"{said}: give --application with one of {', '.join(sorted(found))}."
        raise NoApplication(msg)
    return found[name]
