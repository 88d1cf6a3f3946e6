"""The command `secrets init`: the files that compose.yaml mounts, whole, in agreement, and made once."""

import argparse
import fcntl
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from conftest import Render
from crewyard_runtime import Application, ApplicationSettings
from crewyard_runtime.cli import secrets
from crewyard_runtime.testing.service import until
from pydantic import AliasChoices, BaseModel, Field, SecretStr
from pydantic_settings import SettingsConfigDict
from runtime.orders import make_project

CHOICES = [
    ("redis", "pgvector"),
    ("rabbitmq", "qdrant"),
    ("sqs", "mem0-cloud"),
    ("redis", "volume"),
    ("rabbitmq", "none"),
]
SECONDS = 30
PEM = "-----BEGIN KEY-----\nMIIB\nAAAA\n-----END KEY-----"


class Team(ApplicationSettings):
    """A team's settings, whose variables have other names than the fields."""

    model_config = SettingsConfigDict(env_prefix="CRM_")

    token: SecretStr = SecretStr("a default")
    region: str = "north"
    size: int = 1
    signing_key: SecretStr | None = Field(default=None, validation_alias=AliasChoices("SIGNING_KEY", "OLD_KEY"))
    other_key: SecretStr | None = Field(default=None, validation_alias="THE_OTHER_KEY")


class Text(BaseModel):
    """An input and an output."""

    text: str = ""


application = Application(name="orders", input=Text, output=Text, settings=Team, build="nowhere:build")


Init = Callable[..., list[str]]


@pytest.fixture(autouse=True)
def no_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing is set but what a test sets."""
    for name in set(os.environ) - {"PATH"}:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SECRETS_DIR", str(tmp_path / "nowhere"))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with an application whose settings have secrets."""
    make_project(tmp_path)
    declared = tmp_path / "orders-1.0.dist-info/entry_points.txt"
    declared.write_text("[crewyard.applications]\norders = runtime.test_secrets_init:application\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


@pytest.fixture
def init(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Init:
    """Do what the command does, in a project and with these variables; it gives the names of what was made, in order.

    What it said, besides, is what it has printed.
    """

    def do(place: Path, **variables: str) -> list[str]:
        with monkeypatch.context() as here:
            here.chdir(place)
            here.setenv("SECRETS", "files")  # which the command changes for itself
            for name, value in variables.items():
                here.setenv(name, value)
            assert secrets._init(argparse.Namespace()) == 0
        told = capsys.readouterr()
        sys.stderr.write(told.err)
        names = re.fullmatch(f"made in {place / 'secrets'}: (.*)\n", told.out)
        assert names or told.out == f"all is there already, in {place / 'secrets'}\n"
        return names[1].split(", ") if names else []

    return do


def start(place: Path, *before: str, umask: int = -1, **environment: Any) -> "subprocess.Popen[str]":
    """Start the command itself."""
    return subprocess.Popen(
        [*before, sys.executable, "-m", "crewyard_runtime", "secrets", "init"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=place,
        umask=umask,
        env={**os.environ, "PYTHONPATH": f"{place}{os.pathsep}{Path(__file__).parent.parent}", **environment},
    )


def end(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    """Wait for its end: the exit code, and what it has said."""
    said, errors = process.communicate(timeout=SECONDS)
    return process.returncode, said, errors


def refused(process: "subprocess.Popen[str]") -> str:
    """The one sentence in which the command says what is wrong."""
    code, said, errors = end(process)
    assert (code, said) == (1, "")
    [sentence] = errors.splitlines()
    return sentence.removeprefix("not ready: ")


def files(place: Path) -> dict[str, str]:
    """The text of each file that was made, by its path."""
    there = [path for path in sorted((place / "secrets").rglob("*")) if path.is_file() and path.name != ".gitignore"]
    return {str(path.relative_to(place / "secrets")): path.read_text().strip() for path in there}


def agree(made: dict[str, str]) -> None:
    """Whoever connects is told what the server is told."""
    assert urlsplit(made["mounted/DATABASE_URL"]).password == made["POSTGRES_PASSWORD"]
    if "broker.conf" in made:
        password = urlsplit(made["mounted/BROKER_URL"]).password
        assert password == made["BROKER_PASSWORD"]
        assert re.findall(r"^(?:requirepass |default_pass = )(.*)$", made["broker.conf"], re.MULTILINE) == [password]
    if "qdrant.yaml" in made:
        assert yaml.safe_load(made["qdrant.yaml"])["service"]["api_key"] == made["mounted/QDRANT_API_KEY"]


@pytest.mark.parametrize(("broker", "memory"), CHOICES)
def test_what_is_made_fits_compose_yaml(render: Render, init: Init, broker: str, memory: str) -> None:
    place = render(broker=broker, memory=memory)
    init(place)
    made = files(place)
    agree(made)
    compose = yaml.safe_load((place / "compose.yaml").read_text())
    assert {secret["file"] for secret in compose["secrets"].values()} <= {f"./secrets/{name}" for name in made}
    database, user = urlsplit(made["mounted/DATABASE_URL"]), compose["services"]["postgres"]["environment"]
    assert (database.username, database.path) == (user["POSTGRES_USER"], f"/{user['POSTGRES_USER']}")
    urls = [urlsplit(text) for name, text in made.items() if name.endswith("_URL") and text != "sqs://"]
    assert {url.hostname for url in urls} <= compose["services"].keys()


BROKERS = {"redis": ["broker.conf", "BROKER_PASSWORD"], "rabbitmq": ["broker.conf", "BROKER_PASSWORD"], "sqs": []}
MEMORIES = {"pgvector": ["mounted/MEMORY_DATABASE_URL"], "qdrant": ["mounted/QDRANT_API_KEY", "qdrant.yaml"]}


@pytest.mark.parametrize(("broker", "memory"), CHOICES)
def test_no_file_is_made_that_nobody_reads(project: Path, init: Init, broker: str, memory: str) -> None:
    init(project, BROKER=broker, MEMORY=memory)
    always = ["POSTGRES_PASSWORD", *(f"mounted/{name}" for name in ("BROKER_URL", "CRM_TOKEN", "DATABASE_URL"))]
    assert sorted(files(project)) == sorted(
        [*always, "mounted/WEBHOOK_SECRET", *BROKERS[broker], *MEMORIES.get(memory, [])]
    )


def test_the_memory_has_a_role_of_its_own_in_the_same_database(project: Path, init: Init) -> None:
    init(project, MEMORY="pgvector")
    made = files(project)
    owner, memory = urlsplit(made["mounted/DATABASE_URL"]), urlsplit(made["mounted/MEMORY_DATABASE_URL"])
    assert (memory.hostname, memory.path) == (owner.hostname, owner.path)
    assert memory.username != owner.username
    assert memory.password != owner.password


@pytest.mark.parametrize("umask", [0o000, 0o077], ids=oct)
def test_others_cannot_enter_and_the_images_user_can_read(project: Path, umask: int) -> None:
    assert end(start(project, umask=umask))[0] == 0
    place = project / "secrets"
    modes = {path.relative_to(place): stat.S_IMODE(path.stat().st_mode) for path in place.rglob("[!.]*")}
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert modes.pop(Path("mounted")) == 0o755
    assert set(modes.values()) == {0o644}


def test_a_second_time_changes_nothing(project: Path, init: Init) -> None:
    init(project, OPENAI_API_KEY="sk-first")
    before = files(project)
    assert init(project, OPENAI_API_KEY="sk-second") == []
    assert files(project) == before


@pytest.mark.parametrize(("broker", "memory"), CHOICES[:2])
def test_what_was_killed_is_completed(project: Path, init: Init, broker: str, memory: str) -> None:
    """After each of its files, with the next one half written."""
    names = init(project, BROKER=broker, MEMORY=memory)
    whole = (project / "secrets").rename(project / "whole")
    paths = {path.name: path.relative_to(whole) for path in whole.rglob("*")}
    for number, next_one in enumerate(names):
        (project / "secrets/mounted").mkdir(parents=True)
        for name in names[:number]:
            shutil.copy(whole / paths[name], project / "secrets" / paths[name])
        (project / "secrets" / paths[next_one].with_name(f".{next_one}.half")).write_text("ha")
        assert init(project, BROKER=broker, MEMORY=memory) == names[number:]
        agree(files(project))
        shutil.rmtree(project / "secrets")


def test_of_two_at_once_the_second_waits_for_the_first(project: Path) -> None:
    if sys.platform != "linux":
        pytest.skip("only Linux tells who waits for a lock (/proc/locks)")
    (project / "secrets/mounted").mkdir(parents=True)
    with (project / "secrets/.gitignore").open("w") as first:
        fcntl.flock(first, fcntl.LOCK_EX)
        second = start(project)
        until("that it waits", lambda: re.search(rf"-> FLOCK .* {second.pid} ", Path("/proc/locks").read_text()))
        assert not files(project)
        (project / "secrets/POSTGRES_PASSWORD").write_text("of-the-first\n")
    assert end(second)[0] == 0
    assert "of-the-first@" in files(project)["mounted/DATABASE_URL"]


def test_keys_are_copied_from_variables_and_env(project: Path, init: Init) -> None:
    (project / ".env").write_text("ANTHROPIC_API_KEY=sk-of-env\nCRM_TOKEN=of-env\nCRM_REGION=south\n")
    init(project, OPENAI_API_KEY="sk-of-a-variable")
    made = files(project)
    assert made["mounted/OPENAI_API_KEY"] == "sk-of-a-variable"
    assert made["mounted/ANTHROPIC_API_KEY"] == "sk-of-env"
    assert made["mounted/CRM_TOKEN"] == "of-env"
    assert "mounted/CRM_REGION" not in made


def test_what_is_copied_of_the_teams_is_read_again(project: Path, init: Init, monkeypatch: pytest.MonkeyPatch) -> None:
    init(project, CRM_TOKEN="t", OLD_KEY=PEM, THE_OTHER_KEY="other")
    monkeypatch.chdir(project)
    monkeypatch.setenv("SECRETS_DIR", str(project / "secrets/mounted"))
    found = Team.load()
    keys = [key.get_secret_value() for key in (found.token, found.signing_key, found.other_key) if key]
    assert keys == ["t", PEM, "other"]


LOCAL = {"MODEL_FAST": "ollama/llama3.2", "MODEL_STRONG": "ollama/llama3.2"}
MISSING: list[tuple[dict[str, str], list[str]]] = [
    ({"MEMORY": "none"}, ["OPENAI_API_KEY"]),
    ({"MEMORY": "none", "OPENAI_API_KEY": "sk-x"}, []),
    ({"MEMORY": "none", **LOCAL}, []),
    ({"MEMORY": "none", **LOCAL, "MODEL_STRONG": "deepseek/deepseek-chat"}, ["DEEPSEEK_API_KEY"]),
    ({"MEMORY": "mem0-cloud", "OPENAI_API_KEY": "sk-x"}, ["MEM0_API_KEY"]),
    ({"MEMORY": "pgvector", **LOCAL}, ["OPENAI_API_KEY"]),
    ({"MEMORY": "pgvector", **LOCAL, "EMBEDDING_API_KEY": "sk-x"}, []),
]


@pytest.mark.parametrize(("variables", "missing"), MISSING, ids=str)
def test_what_is_missing_is_named(
    project: Path, init: Init, capsys: pytest.CaptureFixture[str], variables: dict[str, str], missing: list[str]
) -> None:
    init(project, **variables)
    mounted = project / "secrets/mounted"
    assert capsys.readouterr().err.splitlines() == [f"write {name} to {mounted / name}" for name in missing]


def test_what_a_manager_keeps_is_not_asked_for(project: Path) -> None:
    nobody = "http://127.0.0.1:1"
    asked: dict[str, Any] = {
        "SECRETS": "aws",
        "AWS_SECRET_ID": "crew",
        "AWS_REGION": "eu-central-1",
        "AWS_ENDPOINT_URL": nobody,
    }
    assert end(start(project, **asked))[0] == 0
    assert "mounted/OPENAI_API_KEY" not in files(project)


def test_a_password_that_is_gone_is_taken_from_its_url(project: Path, init: Init) -> None:
    init(project)
    before = files(project)
    (project / "secrets/POSTGRES_PASSWORD").unlink()
    (project / "secrets/BROKER_PASSWORD").unlink()
    init(project)
    assert files(project) == before


def test_a_teams_settings_that_are_invalid_are_left_out(
    project: Path, init: Init, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "CRM_TOKEN" not in init(project, MEMORY="none", OPENAI_API_KEY="sk-x", CRM_TOKEN="t", CRM_SIZE="large")
    assert capsys.readouterr().err.startswith("the project's own settings are left out, `check` says why: ")


def test_a_directory_that_cannot_be_made_is_a_sentence(project: Path) -> None:
    (project / "secrets").write_text("a file in its place")
    assert refused(start(project)) == f"{project / 'secrets/mounted'} cannot be written: Not a directory."


def test_a_full_disk_is_a_sentence_and_leaves_no_half_of_a_file(project: Path) -> None:
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("a disk that is full is made by root and unshare (util-linux)")
    (project / "secrets").mkdir()
    disk = 'mount -t tmpfs -o size=16k disk secrets && "$@"; code=$?; find secrets -name "[A-Z]*" -size 0; exit $code'
    code, empty, errors = end(start(project, "unshare", "--mount", "sh", "-c", disk, "-"))
    assert (code, empty) == (1, "")
    assert errors == f"not ready: {project / 'secrets'} cannot be written: No space left on device.\n"


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"MODEL_FAST": "nonsense/x"}, "Settings are invalid: `check` names each of them."),
    ],
    ids=str,
)
def test_settings_that_are_invalid_are_a_sentence(project: Path, variables: dict[str, Any], said: str) -> None:
    assert refused(start(project, **variables)).startswith(said)
    assert not (project / "secrets").exists()


def test_git_leaves_the_directory_out(project: Path, init: Init) -> None:
    init(project)
    subprocess.run(["git", "init", "--quiet"], cwd=project, check=True)
    status = ("git", "status", "--porcelain", "--untracked-files=all")
    listed = subprocess.run(status, cwd=project, capture_output=True, text=True, check=True).stdout
    assert "platform.toml" in listed
    assert "secrets/" not in listed
