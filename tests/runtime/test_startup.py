"""The startup validation: everything that is wrong is named at once, before a framework is imported."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from crewyard_runtime.settings import PLATFORM_FILE, plain
from crewyard_runtime.startup import EX_CONFIG, Startup, examine

SECRET = "sk-recognisable-7f3a"
PLATFORM = 'framework = "crewai"\n'
APPLICATION = """
from crewyard_runtime import Application
from my_app.settings import Settings
from pydantic import RootModel

class Text(RootModel[str]):
    pass

application = Application(name="mine", input=Text, output=Text, build="my_app.crew:build", settings=Settings)
"""
SERVERS = {"DATABASE_URL": "postgresql://localhost/crew", "BROKER_URL": "redis://localhost"}
EXAMPLE_DAEMON = "DOCKER_HOST=tcp://sandbox:2376"
NO_SETTINGS = "from crewyard_runtime import ApplicationSettings as Settings\n"
SETTINGS = """
from crewyard_runtime import ApplicationSettings
from pydantic import Field, SecretStr

class Settings(ApplicationSettings):
    crm_url: str = Field(description="where the customers are", examples=["https://crm.example.org"])
    crm_token: SecretStr = Field(description="the key for the CRM", min_length=10)
    crm_pages: int = Field(default=3, description="pages to read", examples=["3"], ge=1)
"""
ENTRY_POINT = "[crewyard.applications]\nmine = my_app.application:application\n"
DECLARED = "The entry point mine = 'my_app.application:application'"
EXCLUDED = """
[project]
name = "my-app"

[tool.uv]
exclude-dependencies = ["Tables.Of-Arrow>=3", "pictures"]
"""


@dataclass
class Project:
    """A project and its installed distribution, as far as the startup validation sees them; None: a file not there."""

    variables: dict[str, str] = field(default_factory=dict)
    platform: str | None = PLATFORM
    pyproject: str | None = None
    dotenv: str | bytes | None = None
    application: str = APPLICATION
    settings: str = NO_SETTINGS
    entry_points: str | None = ENTRY_POINT
    requires: list[str] = field(default_factory=list)

    def write(self, place: Path) -> None:
        """Write the project into `place`, and what is installed of it below `installed`."""
        requires = "".join(f"Requires-Dist: {text}\n" for text in self.requires)
        files = {
            PLATFORM_FILE: self.platform,
            "pyproject.toml": self.pyproject,
            ".env": self.dotenv,
            "a-file": "",
            "installed/my_app-1.0.dist-info/METADATA": f"Metadata-Version: 2.1\nName: my-app\nVersion: 1.0\n{requires}",
            "installed/my_app-1.0.dist-info/entry_points.txt": self.entry_points,
            "installed/my_app/__init__.py": "",
            "installed/my_app/application.py": self.application,
            "installed/my_app/settings.py": self.settings,
            "installed/my_app/crew.py": "import crewai\n",
        }
        for name, content in files.items():
            if content is not None:
                (place / name).parent.mkdir(parents=True, exist_ok=True)
                (place / name).write_bytes(content if isinstance(content, bytes) else content.encode())

    def environment(self, place: Path) -> dict[str, str]:
        """The variables of a process that starts in it; an empty text leaves a variable out."""
        variables = {"OPENAI_API_KEY": SECRET, "WRITABLE_DIR": str(place / "writable"), **self.variables}
        return {name: value for name, value in variables.items() if value}


@dataclass(frozen=True)
class Checked:
    """How `check` ended: what it printed, the rows of its table and the modules that it imported."""

    code: int
    out: str
    err: str
    rows: list[tuple[str, str, str]]
    modules: set[str]


Check = Callable[[Project], Checked]


@pytest.fixture
def check(tmp_path: Path) -> Check:
    """Run `python -m crewyard_runtime check` in a project."""

    def run(project: Project) -> Checked:
        project.write(tmp_path)
        done = subprocess.run(
            [sys.executable, "-X", "importtime", "-m", "crewyard_runtime", "check"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=60,
            env={
                **{name: os.environ[name] for name in ("PATH", "HOME")},
                "PYTHONPATH": str(tmp_path / "installed"),
                "PYTHONUTF8": "1",
                **project.environment(tmp_path),
            },
        )
        lines = done.stderr.splitlines()
        imports = [line for line in lines if line.startswith("import time:")]
        told = [line for line in lines if line not in set(imports)]
        modules = {line.rpartition("|")[2].strip() for line in imports}
        return Checked(done.returncode, done.stdout, "\n".join(told), _rows(told), modules)

    return run


def _rows(lines: list[str]) -> list[tuple[str, str, str]]:
    """The table that was printed, each cell's lines put together again."""
    rows: list[tuple[str, str, str]] = []
    for line in lines:
        cells = [cell.strip() for cell in re.split("[│┃]", line)[1:-1]]
        if len(cells) == 3 and cells[0]:
            rows.append((cells[0], cells[1], cells[2]))
        elif len(cells) == 3:
            name, *before = rows.pop()
            problem, example = (f"{old} {new}".strip() for old, new in zip(before, cells[1:], strict=True))
            rows.append((name, problem, example))
    return rows[1:]


CASES = {
    "no key": (
        Project({"OPENAI_API_KEY": ""}),
        [("OPENAI_API_KEY", "is not set (the key for openai/gpt-4o-mini and openai/gpt-4o)", "OPENAI_API_KEY=sk-...")],
    ),
    "an empty key": (
        Project({"OPENAI_API_KEY": ""}, dotenv="OPENAI_API_KEY=\n"),
        [("OPENAI_API_KEY", "is not set", "")],
    ),
    "a key for one of two providers": (
        Project({"MODEL_STRONG": "deepseek/chat"}),
        [("DEEPSEEK_API_KEY", "is not set (the key for deepseek/chat)", "DEEPSEEK_API_KEY=sk-...")],
    ),
    "an unknown provider": (
        Project({"MODEL_FAST": "acme/large"}),
        [("MODEL_FAST", "'acme/large' is not of the form provider/model", "MODEL_FAST=openai/gpt-4o-mini")],
    ),
    "an unknown provider in CrewAI's variable": (
        Project({"CREWAI_LLM_MODEL": "acme/large"}),
        [
            (
                "MODEL_FAST",
                "(the model for simple steps; CREWAI_LLM_MODEL sets it too)",
                "MODEL_FAST=openai/gpt-4o-mini",
            ),
            ("MODEL_STRONG", "(the model for hard steps; CREWAI_LLM_MODEL sets it too)", "MODEL_STRONG=openai/gpt-4o"),
        ],
    ),
    "a provider whose client is not installed": (
        Project({"MODEL_FAST": "anthropic/claude", "ANTHROPIC_API_KEY": SECRET}),
        [("pyproject.toml", "anthropic/claude needs the package anthropic", "uv add 'crewai[anthropic]'")],
    ),
    "a temperature that is no number": (
        Project({"TEMPERATURE": "hot"}),
        [("TEMPERATURE", "is invalid: Input should be a valid number", "TEMPERATURE=0.2")],
    ),
    "a temperature out of range": (
        Project({"TEMPERATURE": "2.5"}),
        [("TEMPERATURE", "is invalid: Input should be less than or equal to 2 (sampling", "TEMPERATURE=0.2")],
    ),
    "a URL without http": (
        Project({"OPENAI_BASE_URL": "localhost:8080"}),
        [("OPENAI_BASE_URL", "(another server that speaks", "OPENAI_BASE_URL=http://localhost:8080/v1")],
    ),
    "a limit out of range": (
        Project({"LIMITS__MAX_ITER": "0"}),
        [("LIMITS__MAX_ITER", "is invalid: Input should be greater than or equal to 1", "")],
    ),
    "a limit in the file that does not exist": (
        Project(platform="[limits]\nmax_iterations = 3\n"),
        [("LIMITS__MAX_ITERATIONS", "is invalid: Extra inputs are not permitted", "")],
    ),
    "a directory that is a file": (
        Project({"WRITABLE_DIR": "a-file"}),
        [("WRITABLE_DIR", "a-file cannot be written: File exists (runs work in it)", "WRITABLE_DIR=/tmp/crews")],
    ),
    "a directory below a file": (
        Project({"WRITABLE_DIR": "a-file/below"}),
        [("WRITABLE_DIR", "a-file/below cannot be written: Not a directory", "WRITABLE_DIR=/tmp/crews")],
    ),
    "an unknown framework": (
        Project(platform='framework = "langchain"\n'),
        [("FRAMEWORK", "'langchain' is none of crewai", "FRAMEWORK=crewai")],
    ),
    "required variables of the team": (
        Project(settings=SETTINGS),
        [
            ("CRM_URL", "is not set (where the customers are)", "CRM_URL=https://crm.example.org"),
            ("CRM_TOKEN", "is not set (the key for the CRM)", ""),
        ],
    ),
    "a secret that is too short": (
        Project({"CRM_TOKEN": SECRET[:9], "CRM_URL": "https://crm.example.org"}, settings=SETTINGS),
        [("CRM_TOKEN", "is invalid: Value should have at least 10 items", "")],
    ),
    "all sorts at once": (
        Project(
            {"MODEL_STRONG": "acme/large", "TEMPERATURE": "hot", "CRM_TOKEN": SECRET, "CRM_PAGES": "0"},
            settings=SETTINGS,
            requires=["not-there"],
        ),
        [
            ("MODEL_STRONG", "is invalid", "MODEL_STRONG=openai/gpt-4o"),
            ("TEMPERATURE", "is invalid", "TEMPERATURE=0.2"),
            ("CRM_URL", "is not set", "CRM_URL=https://crm.example.org"),
            ("CRM_PAGES", "is invalid: Input should be greater than or equal to 1 (pages to read)", "CRM_PAGES=3"),
            ("not-there", "is not installed, and my-app needs it", "uv sync"),
        ],
    ),
    "a broken platform.toml": (
        Project(platform='model_fast = "openai/gpt-4o\n'),
        [("platform.toml", "it is no TOML: ", "")],
    ),
    "a misspelt setting": (
        Project(platform='model_fats = "openai/gpt-4o"\n'),
        [("platform.toml", "it has no setting 'model_fats'; there is framework", "")],
    ),
    "a sandbox without a daemon": (
        Project({"CODE_EXECUTION": "docker"}),
        [("DOCKER_HOST", "is not set (the Docker daemon of the sandbox, which runs nothing else)", EXAMPLE_DAEMON)],
    ),
    "a sandbox on another machine by ssh": (
        Project({"CODE_EXECUTION": "docker", "DOCKER_HOST": "ssh://me@there"}),
        [("DOCKER_HOST", "is 'ssh://me@there', and must begin with tcp:// and a host, or with", EXAMPLE_DAEMON)],
    ),
    "the host's own daemon as the sandbox": (
        Project({"CODE_EXECUTION": "docker", "DOCKER_HOST": "unix:///var/run/docker.sock"}),
        [("DOCKER_HOST", "is the socket of the host's own daemon; the sandbox needs a daemon of its", EXAMPLE_DAEMON)],
    ),
    "a sandbox without Docker's command": (
        Project({"CODE_EXECUTION": "docker", "DOCKER_HOST": "tcp://sandbox:2376", "PATH": "/nowhere"}),
        [("CODE_EXECUTION", "is docker, and there is no command `docker` on the PATH", "")],
    ),
    "a sandbox whose certificates are not there": (
        Project({"CODE_EXECUTION": "docker", "DOCKER_HOST": "tcp://sandbox:2376", "DOCKER_CERT_PATH": "/nowhere"}),
        [("DOCKER_CERT_PATH", "/nowhere has no ca.pem and no cert.pem and no key.pem", "DOCKER_CERT_PATH=/certs")],
    ),
    "a sandbox next to the keys in production": (
        Project({**SERVERS, "CODE_EXECUTION": "local"}, platform=None),
        [("CODE_EXECUTION", "is local, which runs code of a model next to your keys", "CODE_EXECUTION=docker")],
    ),
    "an image that may change by itself": (
        Project({"CODE_IMAGE": "python:latest"}),
        [("CODE_IMAGE", "'python:latest' is not pinned: give its tag the whole version", "CODE_IMAGE=python:3.12.12")],
    ),
    "a .env that is no text": (Project(dotenv=b"\xff\xfe=1\n"), [(".env", "it is no UTF-8 text", "")]),
    "no application": (
        Project(entry_points=None),
        [("pyproject.toml", "it declares no application", '[project.entry-points."crewyard.applications"]')],
    ),
    "an entry point that is no application": (
        Project(application="application = 7\n"),
        [("pyproject.toml", f"{DECLARED} is a int, not an Application", "")],
    ),
    "an entry point to nothing": (
        Project(application=""),
        [("pyproject.toml", f"{DECLARED} cannot be imported: AttributeError: module", "")],
    ),
    "an application that raises at import": (
        Project(application="import os\nTOKEN = os.environ['CRM_TOKEN']\n"),
        [("pyproject.toml", f"{DECLARED} cannot be imported: KeyError: 'CRM_TOKEN'", "")],
    ),
    "an application that exits at import": (
        Project(application="raise SystemExit('no token')\n"),
        [("pyproject.toml", f"{DECLARED} cannot be imported: SystemExit: no token", "")],
    ),
    "a requirement that is not installed": (
        Project(requires=["Not_There>=2", "pydantic", 'nowhere; sys_platform == "plan9"', "extra-one; extra == 'x'"]),
        [("Not_There", "is not installed, and my-app needs it", "uv sync")],
    ),
    "a requirement that the project leaves out": (
        Project(requires=["tables_of.arrow"], pyproject=EXCLUDED),
        [
            (
                "tables_of.arrow",
                "is left out by exclude-dependencies, and my-app needs it",
                'delete the line "Tables.Of-Arrow>=3" under [tool.uv] exclude-dependencies',
            )
        ],
    ),
}


@pytest.mark.parametrize(("project", "expected"), CASES.values(), ids=CASES)
def test_a_wrong_configuration_is_refused_and_what_to_mend_is_named(
    check: Check, project: Project, expected: list[tuple[str, str, str]]
) -> None:
    checked = check(project)
    assert checked.code == EX_CONFIG, checked.err
    assert [row[0] for row in checked.rows] == [row[0] for row in expected], checked.err
    for row, (name, problem, example) in zip(checked.rows, expected, strict=True):
        assert row[0] == name
        assert problem in row[1]
        assert example in row[2]
    assert "Traceback" not in checked.err
    assert not checked.out
    assert SECRET[:9] not in checked.err
    assert "crewyard_runtime.startup" in checked.modules
    assert "crewai" not in checked.modules


@pytest.mark.parametrize(
    ("project", "models"),
    [
        (Project(), "openai/gpt-4o-mini and openai/gpt-4o"),
        (Project({"OPENAI_API_KEY": "", "CREWAI_LLM_MODEL": "ollama/llama3"}), "ollama/llama3 and ollama/llama3"),
        (Project({"OPENAI_API_KEY": ""}, dotenv=f"OPENAI_API_KEY={SECRET}\n"), "openai/gpt-4o-mini and openai/gpt-4o"),
        (Project(pyproject="[project\n"), "openai/gpt-4o-mini and openai/gpt-4o"),
        (
            Project({"CRM_URL": "https://crm.example.org", "CRM_TOKEN": SECRET}, settings=SETTINGS),
            "openai/gpt-4o-mini and openai/gpt-4o",
        ),
    ],
    ids=["defaults", "a model that needs no key", "a key in .env", "a pyproject.toml in work", "a team's variables"],
)
def test_a_complete_configuration_is_told_in_two_lines(check: Check, project: Project, models: str) -> None:
    checked = check(project)
    assert (checked.code, checked.err) == (0, "")
    ready, servers = checked.out.splitlines()
    assert ready == f"ready: mine on {models}"
    assert servers.startswith("not set: DATABASE_URL and BROKER_URL; embedded servers stand in here")
    assert "crewai" not in checked.modules


def test_no_file_of_a_project_is_needed(check: Check) -> None:
    """The environment alone is enough, as in an image."""
    assert check(Project(SERVERS, platform=None)).code == 0


def test_where_there_are_no_embedded_servers_real_ones_must_be_named(check: Check) -> None:
    checked = check(Project(platform=None))
    assert checked.code == 78
    assert "DATABASE_URL" in checked.err
    assert "BROKER_URL" in checked.err


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"DATABASE_URL": "mysql://localhost/crew"}, "DATABASE_URL"),
        ({"BROKER_URL": "amqp://localhost"}, "BROKER_URL"),
        ({"BROKER": "kafka"}, "BROKER"),
        ({"AUTH": "oidc"}, "OIDC_ISSUER"),
        ({"AUTH": "oidc", "OIDC_ISSUER": "https://issuer.example.org"}, "OIDC_AUDIENCE"),
        ({"WEBHOOK_SECRET": "short"}, "WEBHOOK_SECRET"),
        ({"MAX_ATTEMPTS": "0"}, "MAX_ATTEMPTS"),
        ({"QUEUE_BOUND": "many"}, "QUEUE_BOUND"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_the_service_cannot_use_is_named(check: Check, variables: dict[str, str], named: str) -> None:
    checked = check(Project({**SERVERS, **variables}))
    assert checked.code == 78
    assert any(line.split()[1:2] == [named] for line in checked.err.splitlines()), checked.err
    assert "mysql://localhost" not in checked.err, "a URL may hold a password"


Examine = Callable[..., Startup]


@pytest.fixture
def examined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Examine]:
    """Examine a project in this process."""
    for name in set(os.environ) - {"PATH", "HOME"}:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path / "installed")

    def run(project: Project, overrides: dict[str, Any] | None = None) -> Startup:
        project.write(tmp_path)
        for name, value in project.environment(tmp_path).items():
            monkeypatch.setenv(name, value)
        return examine(overrides)

    yield run
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_app"]:
        del sys.modules[name]


def test_what_was_read_is_handed_on(examined: Examine, tmp_path: Path) -> None:
    found = examined(Project({"CRM_URL": "https://crm.example.org", "CRM_TOKEN": SECRET}, settings=SETTINGS))
    assert found.problems == []
    assert found.settings is not None
    assert found.settings.writable_dir == tmp_path / "writable"
    assert found.applications["mine"].package == "my_app"
    assert plain(found.application_settings["mine"])["crm_token"] == SECRET


def test_what_the_caller_gives_need_not_be_set(examined: Examine) -> None:
    given = {"openai_api_key": "offline", "model_fast": "openai/x", "model_strong": "openai/y"}
    found = examined(Project({"OPENAI_API_KEY": "", "MODEL_FAST": "acme/large"}), given)
    assert found.problems == []
    assert found.settings is not None
    assert (found.settings.model_fast, found.settings.model_strong) == ("openai/x", "openai/y")


def test_a_wrong_setting_hides_no_other(examined: Examine) -> None:
    variables = {"TEMPERATURE": "hot", "OPENAI_API_KEY": "", "WRITABLE_DIR": "a-file", "CRM_TOKEN": SECRET}
    found = examined(Project({**variables, "CRM_URL": "x"}, settings=SETTINGS))
    assert list(found.application_settings) == ["mine"]
    assert [problem.name for problem in found.problems] == ["TEMPERATURE", "OPENAI_API_KEY", "WRITABLE_DIR"]


def test_a_variable_that_two_applications_lack_is_named_once(examined: Examine) -> None:
    second = 'other = Application(name="other", input=Text, output=Text, build="my_app.crew:x", settings=Settings)\n'
    found = examined(
        Project(
            {"CRM_TOKEN": SECRET},
            application=APPLICATION + second,
            settings=SETTINGS,
            entry_points=f"{ENTRY_POINT}other = my_app.application:other\n",
        )
    )
    assert sorted(found.applications) == ["mine", "other"]
    assert [problem.name for problem in found.problems] == ["CRM_URL"]


def test_the_writable_directory_is_made_for_its_owner_alone_and_left_empty(examined: Examine, tmp_path: Path) -> None:
    examined(Project())
    assert (tmp_path / "writable").stat().st_mode & 0o777 == 0o700
    assert list((tmp_path / "writable").iterdir()) == []
