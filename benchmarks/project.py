"""Projects of this working tree's template, rendered for benchmarks."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import copier

REPOSITORY = Path(__file__).parent.parent


def sh(place: Path, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command in `place`, outside of this repository's environment; ends the benchmarks if it fails."""
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
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
    return done


def commit(place: Path) -> None:
    """Make a directory a git repository with all it holds in one commit."""
    sh(place, "git", "init", "--quiet", "--initial-branch=main")
    sh(place, "git", "add", "--all")
    who = ("-c", "user.name=benchmark", "-c", "user.email=benchmark@example.org")
    sh(place, "git", *who, "commit", "--quiet", "-m", "All of it")


def publish(place: Path) -> Path:
    """What git would publish of this working tree, committed, so that no side pays for a dirty one."""
    listed = sh(REPOSITORY, "git", "ls-files", "--cached", "--others", "--exclude-standard", "-z").stdout
    for name in filter(None, listed.split("\0")):
        if (REPOSITORY / name).is_file() or (REPOSITORY / name).is_symlink():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, place / name, follow_symlinks=False)
    commit(place)
    return place


def render(template: Path, place: Path, framework: str = "crewai") -> Path:
    """A project of a framework, all else by default."""
    copier.run_copy(str(template), place, data={"framework": framework}, vcs_ref="HEAD", defaults=True, quiet=True)
    return place


def importable(project: Path) -> Path:
    """Where Python finds a project's package and its applications, for this repository's own environment."""
    source = project / "src"
    declared = source / "project-1.0.dist-info"
    declared.mkdir()
    (declared / "METADATA").write_text("Metadata-Version: 2.1\nName: project\nVersion: 1.0\n")
    groups = tomllib.loads((project / "pyproject.toml").read_text("utf-8"))["project"]["entry-points"]
    lines = [
        f"[{group}]\n" + "".join(f"{name} = {what}\n" for name, what in points.items())
        for group, points in groups.items()
    ]
    (declared / "entry_points.txt").write_text("".join(lines))
    return source
