"""A template's repository, wherever it is: its releases, and what one of them holds."""

import json
import re
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import cached_property
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from packaging.version import InvalidVersion, Version

from crewyard.errors import NotPossible
from crewyard.git import git
from crewyard.project import load

# As Copier understands them.
SHORT = {"gh:": "https://github.com/", "gl:": "https://gitlab.com/"}
QUESTIONS = ("copier.yml", "copier.yaml")
DESCRIBED = re.compile(r"-\d+-g[0-9a-f]+$")  # what `git describe` calls a commit after a release
MOST_SAID = 1_000  # characters
CHANGES = re.compile(r"^## (\S+)[^\n]*\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)


class Template:
    """A template. source: a URL or a path, as Copier takes it; a path is meant from `below`."""

    def __init__(self, source: str, below: Path | None = None) -> None:
        self.source = source
        self.url = _url(source, below or Path.cwd())

    @cached_property
    def releases(self) -> list[str]:
        """The tags that are releases, oldest first. Raises NotPossible if the repository does not answer."""
        try:
            lines = git(Path.cwd(), "ls-remote", "--tags", "--refs", self.url).splitlines()
        except NotPossible as error:
            msg = f"The template {self.source} does not answer; if it has moved, --template names its place. {error}"
            raise NotPossible(msg) from error
        tags = [line.rpartition("refs/tags/")[2] for line in lines]
        return sorted((tag for tag in tags if _is_release(tag)), key=Version)

    @property
    def newest(self) -> str:
        """The newest release. Raises NotPossible if there is none."""
        if not self.releases:
            msg = f"The template {self.source} has no release: no tag of it is a version."
            raise NotPossible(msg)
        return self.releases[-1]

    def refuse_unless_released(self, release: str) -> None:
        """Raises NotPossible if there is no such release."""
        if release not in self.releases:
            msg = f"The template has no release {release}; there is {', '.join(self.releases)}."
            raise NotPossible(msg)

    @contextmanager
    def at(self, release: str) -> Iterator[Path]:
        """What a release holds, in a directory for as long as it is needed."""
        with tempfile.TemporaryDirectory(prefix="crewyard-") as place:
            quiet = ("-c", "advice.detachedHead=false")
            branch = [f"--branch={release}"] * (release != "HEAD")
            git(Path(place), *quiet, "clone", "--quiet", "--depth=1", *branch, _file(self.url), "it")
            yield Path(place) / "it"

    def read(self, release: str) -> tuple[str, dict[str, Any]]:
        """The changelog of a release, and its questions with Copier's own settings."""
        with self.at(release) as place:
            changelog = place / "CHANGELOG.md"
            text = changelog.read_text("utf-8") if changelog.is_file() else ""
            found = next((path for path in map(place.joinpath, QUESTIONS) if path.is_file()), None)
            return text, load(found) if found else {}


def own_template() -> str | None:
    """The template that this command came with: where it was installed from. None if that was no repository."""
    try:
        said = distribution("crewyard").read_text("direct_url.json")
    except PackageNotFoundError:
        return None
    url: str = json.loads(said or "{}").get("url", "")
    place = url.removeprefix("file://")
    return (place if url.startswith("file://") else url) or None


def template_or_own(given: str | None) -> str:
    """The template that was named, or this command's own. Raises NotPossible if it has none."""
    source = given or own_template()
    if source is None:
        msg = "This command was not installed from a template's repository: name one with --template."
        raise NotPossible(msg)
    return source


@contextmanager
def what_copier_says(failed: str) -> Iterator[None]:
    """Raises NotPossible with its reason after `failed`, where Copier would end in a traceback."""
    from copier.errors import CopierError
    from jinja2 import TemplateError, TemplateSyntaxError

    try:
        yield
    except TemplateSyntaxError as error:
        msg = f"{failed}{error.filename or error.name}, line {error.lineno}, is no template of Jinja: {error.message}"
        raise NotPossible(msg) from error
    except (CopierError, TemplateError, ValueError, OSError) as error:
        said = str(getattr(error, "stderr", "") or error).strip() or type(error).__name__
        raise NotPossible(f"{failed}{said if len(said) < MOST_SAID else f'{said[:MOST_SAID]}...'}") from error


def version(release: str) -> Version:
    """The version of a release, or that below a commit that `git describe` names. Raises NotPossible if it is none."""
    try:
        return Version(DESCRIBED.sub("", release))
    except InvalidVersion:
        msg = f"{release} is no version; `_commit` in the answers file must be a tag of the template."
        raise NotPossible(msg) from None


def is_of(release: str, releases: Collection[str]) -> bool:
    """Whether a project can be of a release: one of those, or a commit after one."""
    return release in releases or DESCRIBED.search(release) is not None


def changes(changelog: str, above: str, until: str) -> str:
    """The sections of a changelog for the versions above one, up to another; newest first."""
    sections = []
    for name, text in CHANGES.findall(changelog):
        if _is_release(name) and version(above) < Version(name) <= version(until):
            sections.append(f"## {name}\n{text.rstrip()}")
    return "\n\n".join(sections)


def _is_release(tag: str) -> bool:
    try:
        return not Version(tag).is_prerelease
    except InvalidVersion:
        return False


def _url(source: str, below: Path) -> str:
    for short, site in SHORT.items():
        if source.startswith(short):
            return f"{site}{source.removeprefix(short).removesuffix('.git')}.git"
    plain = source.removeprefix("git+")
    place = (below / Path(plain).expanduser()).resolve()
    return str(place) if place.exists() else plain


def _file(url: str) -> str:
    """A path as a URL: of a path git would copy the whole repository."""
    return f"file://{url}" if url.startswith("/") else url
