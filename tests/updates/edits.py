"""What teams do to their project in a year, all of it inside of their zone (docs/zones.md)."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

from conftest import sh

Edit = Callable[[Path], None]
EDITS: dict[str, Edit] = {}
PYPROJECT = "pyproject.toml"


def edit(name: str) -> Callable[[Edit], Edit]:
    """Name an edit, as a person would call it."""

    def kept(function: Edit) -> Edit:
        EDITS[name] = function
        return function

    return kept


def package(project: Path) -> Path:
    """The team's package."""
    return next(path for path in sorted((project / "src").iterdir()) if (path / "application.py").exists())


def write(path: Path, text: str) -> None:
    """Write a file, and the directories above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")


def replace(path: Path, old: str, new: str) -> None:
    """Replace what is there exactly once."""
    text = path.read_text("utf-8")
    assert text.count(old) == 1, (path, old)
    path.write_text(text.replace(old, new), "utf-8")


@edit("dependencies by uv add")
def _dependencies(project: Path) -> None:
    for arguments in (
        ("anthropic>=0.70", "httpx>=0.28", "zstandard"),
        ("--dev", "pytest-cov>=6", "respx", "types-requests"),
        ("--group", "docs", "mkdocs-material"),
        ("--optional", "reports", "matplotlib>=3.10"),
    ):
        sh(project, "uv", "add", "--quiet", "--frozen", *arguments)


@edit("a dependency of a path")
def _dependency_of_a_path(project: Path) -> None:
    write(project / "libraries/house/pyproject.toml", '[project]\nname = "house"\nversion = "1"\n')
    replace(project / PYPROJECT, "[tool.uv.sources]\n", '[tool.uv.sources]\nhouse = { path = "libraries/house" }\n')


@edit("all agents replaced")
def _agents_replaced(project: Path) -> None:
    for path in package(project).rglob("*"):
        if path.name in ("crew.py", "team.py", "prompts.py", "agents.yaml", "tasks.yaml", "rules.py", "guardrails.py"):
            path.write_text(f"# our own {path.name}\nname: ours\n", "utf-8")


@edit("tools replaced and added")
def _tools(project: Path) -> None:
    shutil.rmtree(package(project) / "tools")
    write(package(project) / "tools/__init__.py", "")
    write(package(project) / "tools/orders.py", "def find_order(number: str) -> str:\n    return number\n")


@edit("modules added")
def _modules_added(project: Path) -> None:
    write(package(project) / "billing/__init__.py", "")
    write(package(project) / "billing/invoices.py", "TOTAL = 1\n")
    write(project / "src/beside/__init__.py", "# a package of its own\n")


@edit("modules renamed")
def _modules_renamed(project: Path) -> None:
    own = package(project)
    shutil.copy(own / "application.py", own / "declaration.py")
    (own / "models.py").rename(own / "schemas.py")
    (own / "declaration.py").write_text((own / "declaration.py").read_text().replace(".models", ".schemas"))
    (own / "application.py").write_text(f"from {own.name}.declaration import application as application\n")
    replace(project / PYPROJECT, f'"{own.name}.application:application"', f'"{own.name}.declaration:application"')


@edit("a second application")
def _second_application(project: Path) -> None:
    own = package(project)
    write(own / "refunds/application.py", "application = None\n")
    replace(
        project / PYPROJECT,
        '[project.entry-points."crewyard.applications"]\n',
        f'[project.entry-points."crewyard.applications"]\nrefunds = "{own.name}.refunds.application:application"\n',
    )


@edit("settings added")
def _settings(project: Path) -> None:
    path = package(project) / "settings.py"
    path.write_text(f'{path.read_text("utf-8")}\n    shop_url: str = Field(description="the shop", examples=["x"])\n')


@edit("tests of their own")
def _tests(project: Path) -> None:
    (project / "tests/unit/test_support.py").unlink()
    write(project / "tests/unit/test_orders.py", "def test_orders() -> None:\n    assert 1 + 1 == 2\n")
    write(project / "tests/contract/test_shop.py", "def test_shop() -> None:\n    assert 2 + 2 == 4\n")
    write(project / "tests/conftest.py", "# fixtures of ours\n")


@edit("services in compose.override.yaml")
def _compose_override(project: Path) -> None:
    write(
        project / "compose.override.yaml",
        "services:\n  gateway:\n    ports: ['127.0.0.1:9000:8000']\n  mail:\n    image: mail:1.2.3\n",
    )


@edit("a workflow")
def _workflow(project: Path) -> None:
    write(project / ".github/workflows/project.yml", "name: ours\non: push\npermissions: {}\njobs: {}\n")
    write(project / ".github/dependabot.yml", "version: 2\n")


@edit("an overlay of Kubernetes")
def _overlay(project: Path) -> None:
    write(project / "deploy/overlays/production/kustomization.yaml", "resources: [../../base]\nnameSuffix: -ours\n")
    write(project / "deploy/overlays/canary/kustomization.yaml", "resources: [../production]\n")


@edit("files deleted")
def _deleted(project: Path) -> None:
    (package(project) / "tickets.jsonl").unlink()
    shutil.rmtree(package(project) / "knowledge")


@edit("the README rewritten, and documents added")
def _readme(project: Path) -> None:
    write(project / "README.md", "# Ours\n\nRead docs/.\n")
    write(project / "docs/on-call.md", "# On call\n")
    write(project / "CHANGELOG.md", "# Changes of ours\n")
    write(project / "LICENSE", "ours\n")


@edit("a version, authors and a script")
def _project_table(project: Path) -> None:
    path = project / PYPROJECT
    replace(path, 'version = "0.1.0"\n', 'version = "4.12.0"\n')
    replace(path, 'readme = "README.md"\n', 'readme = "README.md"\nauthors = [{ name = "A team" }]\nlicense = "MIT"\n')
    name = package(project).name
    text = path.read_text("utf-8")
    path.write_text(
        re.sub(r"(\[project\.scripts\]\n.+\n)", rf'\1reindex = "{name}.reindex:main"' + "\n", text), "utf-8"
    )


@edit("linters made their own")
def _linters(project: Path) -> None:
    path = project / PYPROJECT
    replace(path, "[tool.ruff]\nline-length = 120\n", "[tool.ruff]\nline-length = 100\n")
    ours = '\n[[tool.mypy.overrides]]\nmodule = ["matplotlib.*"]\nignore_missing_imports = true\n'
    path.write_text(f"{path.read_text('utf-8').rstrip()}\n{ours}", "utf-8")


@edit("system packages and ignored files")
def _system_packages(project: Path) -> None:
    for name in ("system-packages.txt", ".gitignore"):
        path = project / name
        path.write_text(f"{path.read_text('utf-8') if path.exists() else ''}poppler-utils\n", "utf-8")


@edit("files that are no text, and odd names")
def _odd_files(project: Path) -> None:
    (package(project) / "logo ü.png").write_bytes(bytes(range(256)))
    (package(project) / "latest").symlink_to("application.py")
    write(project / "scripts/load data.sh", "#!/bin/sh\n")
    (project / "scripts/load data.sh").chmod(0o755)


@edit("the project renamed by hand")
def _renamed(project: Path) -> None:
    name = package(project).name.replace("_", "-")
    replace(project / PYPROJECT, f'[project]\nname = "{name}"\n', '[project]\nname = "desk-of-ours"\n')
