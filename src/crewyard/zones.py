"""Whose a file of a project is, and where an edit belongs that was made in a managed one (docs/zones.md)."""

from collections.abc import Iterable

from crewyard.errors import NotPossible

SHARED = "pyproject.toml"
OVERLAYS = "deploy/overlays/"
CODE = ("src/", "tests/unit/")
TEAM = (
    *CODE,
    ".gitignore",
    "README.md",
    OVERLAYS,
    "renovate.json",
    "system-packages.txt",
)
ANSWERS = "answers change by `crewyard update --data name=value`"
# The longest path that begins a file's name counts.
ELSEWHERE = {
    "": "each update replaces it; what it lacks is an issue of the template",
    ".copier-answers": f"{ANSWERS}, never by hand",
    ".env.example": "keep both; variables of yours belong into your settings class, from which `check` prints examples",
    ".github/workflows/": "jobs of yours belong into `.github/workflows/project.yml`",
    ".pre-commit-config.yaml": "keep both; nothing else can take hooks of yours",
    "Dockerfile": "Debian packages belong into `system-packages.txt`, settings into variables",
    "compose.yaml": "services of yours belong into `compose.override.yaml`, which Compose merges by itself",
    "deploy/": "patches of yours belong into an overlay below `deploy/overlays/`",
    "platform.toml": f"{ANSWERS}, and settings by variables",
    "pyproject.toml": "keep both; dependencies belong into `[project]` (`uv add`), all else below the template's",
    "runtime/": "code of yours belongs into `src/`, and what the runtime lacks is an issue of the template",
    "tests/scaling/": "tests of yours belong into `tests/unit/`; one that is wrong for you is an issue of the template",
}


def whose(file: str) -> str:
    """Whose a file or directory is, in a word."""
    return "shared" if file == SHARED else "yours" if is_team(file) else "managed"


def is_team(file: str) -> bool:
    """Whether a file is the team's alone."""
    return any(file == path or (path.endswith("/") and file.startswith(path)) for path in TEAM)


def refuse_both(files: Iterable[str]) -> None:
    """Raises NotPossible for files of a company's template that crewyard's makes too, unless they are the team's."""
    if both := sorted(file for file in files if not is_team(file)):
        msg = (
            f"The company's template has files that crewyard manages, and updates would fight over: {', '.join(both)}."
        )
        raise NotPossible(msg)


def belongs(file: str) -> str:
    """Where an edit of a managed file belongs."""
    return ELSEWHERE[max((path for path in ELSEWHERE if file.startswith(path)), key=len)]
