"""F20 in a Dockerfile: packages that each build resolves anew."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from crewyard.doctor.dockerfile import Dockerfile
from crewyard.doctor.files import Tree, beside
from crewyard.doctor.findings import Finding

LOCK = "install from a lock file: `uv sync --locked`, or `pip install --require-hashes -r` a compiled one"
LOCKED_BEFORE = re.compile(r"--require-hashes|requirements\S*\.(txt|lock)|uv (sync|export)|poetry|pipenv")
INSTALLERS = frozenset({"pip", "setuptools", "wheel", "uv", "poetry", "pipenv"})
HELD = frozenset({"--require-hashes", "-c", "--constraint", "--no-deps"})
REQUIREMENTS = frozenset({"-r", "--requirement", "--requirements"})
TAKES_VALUE = frozenset(
    {
        "-i", "--index-url", "--extra-index-url", "--index", "--index-strategy", "-f", "--find-links", "--trusted-host",
        "-t", "--target", "--prefix", "--root", "-p", "--python", "--platform", "--torch-backend",
        "--timeout", "--default-timeout", "--retries", "--cache-dir", "--progress-bar",
    }
)  # fmt: skip


def installs(file: Dockerfile, tree: Tree) -> Iterator[Finding]:
    """The installs of a Dockerfile that no lock file holds."""
    whole = " ".join(one.rest for one in file.instructions)
    for one in file.instructions:
        if one.name != "RUN":
            continue
        seen = next((seen for command in _commands(one.rest) if (seen := _unlocked(command, file, tree, whole))), "")
        if seen:
            yield file.found(one, "F20", "error", seen, LOCK)
    yield from _no_cooldown(file, tree)


def _commands(rest: str) -> Iterator[list[str]]:
    """The commands of a RUN, in words, without its mounts."""
    rest = re.sub(r"^(--\S+\s+)+", "", rest)
    for part in re.split(r"&&|\|\||;|\|", rest):
        try:
            yield shlex.split(part, comments=True)
        except ValueError:
            yield part.split()


def _unlocked(words: list[str], file: Dockerfile, tree: Tree, whole: str) -> str:
    """What a command installs without a lock, as a sentence; "" if nothing."""
    names = [word.rsplit("/", 1)[-1] for word in words]
    line = " ".join(names)
    if found := re.search(r"\b(uv pip|pip3?(?:\.\d+)?|pip) (install|sync)\b", line):
        return _pip(words[len(line[: found.end()].split()) :], found[0], file, tree)
    if (
        "uv sync" in line
        and not re.search(r"--(locked|frozen)", line)
        and not re.search(r"UV_(FROZEN|LOCKED)\W+(1|true)", whole)
    ):
        return "`uv sync` without --locked resolves anew where the lock file does not fit"
    if "poetry install" in line and not _exists(file, tree, "poetry.lock"):
        return "`poetry install` without a poetry.lock in the repository resolves anew"
    if re.search(r"\bpipenv install\b", line) and not re.search(r"--(deploy|ignore-pipfile)", line):
        return "`pipenv install` without --deploy resolves anew"
    return ""


def _exists(file: Dockerfile, tree: Tree, name: str) -> bool:
    return any((directory / name).exists() for directory in {file.place.parent, tree.root})


def _pip(words: list[str], command: str, file: Dockerfile, tree: Tree) -> str:
    if HELD & set(words) or any(word.startswith("--constraint=") for word in words):
        return ""
    files, names = _arguments(words)
    for name in files:
        if seen := _requirements(name, file, tree):
            return f"`{command} -r {name}`: {seen}"
    if loose := [name for name in names if _is_loose(name)]:
        return f"`{command}` of {', '.join(loose[:3])} without a version"
    local = next((name for name in names if _is_local(name)), "")
    return (
        f"`{command} {local}` resolves its dependencies anew" if local and not LOCKED_BEFORE.search(file.text) else ""
    )


def _arguments(words: list[str]) -> tuple[list[str], list[str]]:
    """The requirements files and the names that are to be installed."""
    files, names, option = [], [], ""
    for word in words:
        if option:
            files += [word] if option in REQUIREMENTS else []
            option = ""
        elif word in TAKES_VALUE or word in REQUIREMENTS:
            option = word
        elif word.startswith("-r"):
            files.append(word[2:])
        elif not word.startswith(("-", "$", "#")):
            names.append(word)
    return files, names


def _is_local(word: str) -> bool:
    """Whether a word is a path of the project's own package: `.`, `.[extra]`, `dist/*.whl`."""
    return word == "." or word.startswith((".[", "./")) or word.endswith(".whl")


def _is_loose(word: str) -> bool:
    name = re.split(r"[\[<>=!~ ;@]", word)[0].lower()
    if not name or name in INSTALLERS or "==" in word or "@" in word or word.endswith((".whl", ".tar.gz")):
        return False
    return bool(re.fullmatch(r"[a-z0-9][a-z0-9._-]*", name)) and "/" not in word


def _requirements(name: str, file: Dockerfile, tree: Tree, depth: int = 0) -> str:
    """Which lines of a requirements file, in the repository, have no version."""
    if name.endswith("pyproject.toml"):
        return "it holds ranges, not versions"
    where = next(
        (place for directory in (file.place.parent, tree.root) if (place := directory / name.lstrip("/")).is_file()),
        None,
    )
    if where is None:
        base = Path(name).name
        same = [path for path in tree.names if path.name == base]
        where = same[0] if len(same) == 1 else None
    if where is None or depth > 3:
        return ""
    loose = []
    for raw in beside(where).splitlines():
        line = re.sub(r"(^|\s)#.*", "", raw).strip()
        if line.startswith(("-r ", "--requirement ")) and (
            seen := _requirements(line.split(None, 1)[1], file, tree, depth + 1)
        ):
            return seen
        if line and not line.startswith("-") and "--hash" not in line and _is_loose(line.split(";")[0].strip()):
            loose.append(re.split(r"[\[<>=!~ ;]", line)[0])
    return f"{len(loose)} of its lines name no exact version ({', '.join(loose[:3])})" if loose else ""


def _no_cooldown(file: Dockerfile, tree: Tree) -> Iterator[Finding]:
    """uv without exclude-newer: a package that was published an hour ago gets into the next lock."""
    one = next(
        (
            one
            for one in file.instructions
            if one.name == "RUN" and re.search(r"\buv (sync|lock|pip (install|sync))\b", one.rest)
        ),
        None,
    )
    if one is None or "EXCLUDE_NEWER" in file.text or "exclude-newer" in file.text:
        return
    for directory in (file.place.parent, tree.root):
        for name in ("pyproject.toml", "uv.toml"):
            place = directory / name
            if "exclude-newer" in beside(place):
                return
    yield file.found(
        one,
        "F20",
        "hint",
        "uv takes packages that were published minutes ago",
        'set `exclude-newer = "3 days"` below [tool.uv] in pyproject.toml',
    )
