"""The project's files as they stand: secrets in them, how they are locked, and what their image runs as."""

import ast
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from crewyard_runtime.memory.no_secrets import KEYS
from crewyard_runtime.testing.failures import Finding

LARGEST = 1_000_000  # bytes of a file that is read
NOT_THEIRS = (".git", ".venv", "venv", "node_modules", "__pycache__")
SECRET = re.compile(r"(?i)(^|_)((api|access|secret|private)_?key|token|secret|password|passwd|pwd)$")
A_VALUE = re.compile(r"(?=\S*[0-9])(?=\S*[A-Za-z])[^\s${}<>.:]{16,}$")
ASSIGNED = re.compile(r"^\s*(?:-\s+|ENV\s+|ARG\s+)?[\"']?([A-Za-z_]\w*)[\"']?\s*[=:]\s*[\"']?([^\s\"'#,]+)")
UNLOCKED = re.compile(r"\buv sync\b(?!.*--(?:locked|frozen))|\bpip3? install\b(?!.*(?:--require-hashes|\buv\b))")


def project_files(root: Path) -> Iterator[Path]:
    """What git has or would add; without git, all but environments and caches. The runtime is not the team's."""
    listing = ["git", "-C", str(root), "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        listed = subprocess.run(listing, capture_output=True, text=True, check=True, timeout=60).stdout.split("\0")
    except (OSError, subprocess.SubprocessError):
        listed = [str(path.relative_to(root)) for path in root.rglob("*") if path.name != ".env"]
    for name in filter(None, listed):
        path = Path(name)
        ignored = any(part in NOT_THEIRS or part.endswith("_cache") for part in path.parts[:-1])
        ignored |= path.parts[0] == "runtime" or path.name == "uv.lock"
        if not ignored and (root / path).is_file():
            yield root / path


def secrets_in(root: Path) -> list[Finding]:
    """A finding for each line of the project's files that holds a key; tests may hold some that open nothing."""
    found = []
    for path in project_files(root):
        name = path.relative_to(root)
        if name.parts[0] == "tests" or path.stat().st_size > LARGEST:
            continue
        text = path.read_text("utf-8", errors="replace")
        lines = [number for number, line in enumerate(text.splitlines(), 1) if KEYS.search(line)]
        lines += _assigned_in_code(text) if path.suffix == ".py" else _assigned_in_text(text)
        found += [Finding("a key is in the project's files", f"{name}:{line}") for line in sorted(set(lines))]
    return found


def _assigned_in_code(text: str) -> Iterator[int]:
    """The lines where a literal is given to what is named like a secret."""
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return
    for node in ast.walk(tree):
        pairs: list[tuple[str, ast.expr | None]] = []
        if isinstance(node, ast.Assign):
            pairs = [(_name(target), node.value) for target in node.targets]
        elif isinstance(node, ast.AnnAssign):
            pairs = [(_name(node.target), node.value)]
        elif isinstance(node, ast.keyword):
            pairs = [(node.arg or "", node.value)]
        elif isinstance(node, ast.Dict):
            pairs = [(_name(key), value) for key, value in zip(node.keys, node.values, strict=True)]
        for name, value in pairs:
            if isinstance(value, ast.Constant) and isinstance(value.value, str) and _is_secret(name, value.value):
                yield value.lineno


def _name(node: ast.expr | None) -> str:
    if isinstance(node, ast.Subscript):
        return _name(node.slice)
    return str(getattr(node, "id", getattr(node, "attr", getattr(node, "value", ""))))


def _assigned_in_text(text: str) -> Iterator[int]:
    for number, line in enumerate(text.splitlines(), 1):
        if (found := ASSIGNED.match(line)) and _is_secret(*found.groups()):
            yield number


def _is_secret(name: str, value: str) -> bool:
    return bool(SECRET.search(name) and A_VALUE.match(value))


def unlocked(root: Path) -> list[Finding]:
    """A finding for each way in which what is installed is not what was tested, or may be hours old."""
    policy = _toml(root / "pyproject.toml").get("tool", {}).get("uv", {}).get("exclude-newer")
    ages = bool(policy) and not re.match(r"0+\b", str(policy))
    found = [] if ages else [Finding("[tool.uv] has no exclude-newer: a release of this minute is taken")]
    if not (root / "uv.lock").is_file():
        return [*found, Finding("there is no uv.lock")]
    options = _toml(root / "uv.lock").get("options", {})
    if policy and not {"exclude-newer", "exclude-newer-span"} & options.keys():
        found.append(Finding("uv.lock was made without exclude-newer: run `uv lock`"))
    return found


def _toml(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text("utf-8")) if path.is_file() else {}


def of_the_image(root: Path) -> list[Finding]:
    """A finding for each line of the Dockerfiles that installs what is not locked or not pinned, or runs as root."""
    found = []
    for path in [
        path for path in project_files(root) if path.name.partition(".")[0] in ("Dockerfile", "Containerfile")
    ]:
        name, user, stage, stages = path.relative_to(root), "root", "", {"scratch": "root"}
        given: dict[str, str] = {}
        for number, line in _instructions(path.read_text("utf-8", errors="replace")):
            word, _, rest = line.partition(" ")
            if word.upper() == "FROM":
                image, _, stage = re.sub(r"--\S+\s+", "", rest).partition(" ")
                for variable, value in given.items():
                    image = image.replace(f"${{{variable}}}", value).replace(f"${variable}", value)
                tagged = ":" in image.rpartition("/")[2] and not image.endswith(":latest")
                if not tagged and "@" not in image and "$" not in image and image not in stages:
                    found.append(Finding(f"the base {image} has no tag that stays what it is", f"{name}:{number}"))
                user, stage = stages.get(image, "root"), re.sub(r"(?i)^as\s+", "", stage).strip()
            elif word.upper() == "ARG" and "=" in rest:
                given.setdefault(*rest.split("=", 1))
            elif word.upper() == "USER":
                user = rest.strip().partition(":")[0]
            elif word.upper() == "RUN" and UNLOCKED.search(rest):
                found.append(Finding("the image installs what no lock names", f"{name}:{number}"))
            stages[stage] = user
        if user in ("root", "0", ""):
            found.append(Finding("the image runs as root", str(name)))
    return found


def _instructions(text: str) -> Iterator[tuple[int, str]]:
    """The instructions of a Dockerfile, each on one line, with the number of its first."""
    held, first = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("#") or not (line.strip() or held):
            continue
        first = first if held else number
        held += line.strip()
        if held.endswith("\\"):
            held = held[:-1] + " "
            continue
        yield first, held
        held = ""
