"""What no run may have of its worker's: the files of secrets, and the keys that it does not need."""

import os
import signal
from collections.abc import Iterator
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import pytest
from crewyard_runtime import Application
from crewyard_runtime.execution import Runner, RunnerNotReady, RunRequest, closed
from crewyard_runtime.execution import runner as runner_module
from crewyard_runtime.faulty import application as faulty
from crewyard_runtime.settings import RuntimeSettings, plain
from pydantic import SecretStr
from runtime import reading
from runtime.conftest import own_fork_server

SECRET = "sesame"
REFUSALS = ("permission denied", "not permitted", "cross-device")
ALL = [reading.application, faulty]
KEYS = {
    "openai_api_key": "sk-of-openai-7f3a",
    "anthropic_api_key": "sk-of-anthropic-7f3a",
    "openrouter_api_key": "sk-of-openrouter-7f3a",
    "deepseek_api_key": "sk-of-deepseek-7f3a",
    "embedding_api_key": "sk-of-embeddings-7f3a",
    "mem0_api_key": "m0-of-mem0-7f3a",
    "qdrant_api_key": "of-qdrant-7f3a",
    "memory_database_url": "postgresql://crew_memory:of-postgres-7f3a@db/crew",
}


def settings_in(place: Path, **chosen: Any) -> RuntimeSettings:
    """Settings of an application without a framework, with every key there is."""
    keys = {name: SecretStr(key) for name, key in KEYS.items()}
    return RuntimeSettings(framework="plain", writable_dir=place / "writable", **{**keys, **chosen})


def run(runner: Runner, application: Application, **order: Any) -> Any:
    """The output of one run."""
    outcome = runner.run(application, RunRequest(run_id="r1", input=plain(order), settings={}, runtime={}))
    assert outcome.status == "succeeded", outcome.error
    return outcome.output


def started(place: Path, **chosen: Any) -> Runner:
    """A runner with a fork server that knows these applications."""
    runner = Runner(settings_in(place, **chosen), ALL)
    runner.start()
    return runner


def mount(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file in a directory that is named as that of secrets."""
    (place / "mounted").mkdir()
    (place / "mounted/A_KEY").write_text(SECRET)
    monkeypatch.setenv("SECRETS", "files")
    monkeypatch.setenv("SECRETS_DIR", str(place / "mounted"))
    return place / "mounted/A_KEY"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file of secrets; the fork server that this test starts ends with it, for what it has closed stays closed."""
    with own_fork_server():
        yield mount(tmp_path, monkeypatch)


@pytest.fixture(scope="module")
def closing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Runner]]:
    """A file of secrets, and a runner that has closed its directory to all runs."""
    place = tmp_path_factory.mktemp("closed")
    if reason := closed.why_not(place):
        pytest.skip(reason)
    with pytest.MonkeyPatch.context() as monkeypatch, own_fork_server():
        file = mount(place, monkeypatch)
        (place / "note").write_text("a note")
        yield file, started(place)


@pytest.mark.parametrize("way", reading.WAYS)
def test_a_run_reads_no_file_of_secrets(closing: tuple[Path, Runner], way: str) -> None:
    file, runner = closing
    seen = run(runner, reading.application, file=file, way=way)
    assert seen["text"] == ""
    assert any(why in seen["refused"].lower() for why in REFUSALS), seen["refused"]
    assert file.read_text() == SECRET


@pytest.mark.parametrize("way", ["as it is", *reading.OF_ITS_OWN])
def test_a_run_reads_and_moves_all_else(closing: tuple[Path, Runner], way: str) -> None:
    file, runner = closing
    assert run(runner, reading.application, file=file.parent.parent / "note", way=way)["text"] == "a note"


@pytest.mark.parametrize("by", ["us", "multiprocessing"])
def test_when_the_process_that_forks_runs_has_died_the_next_run_gets_no_more(
    closing: tuple[Path, Runner], monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    file, runner = closing
    monkeypatch.setenv("DATABASE_URL", SECRET)
    server = runner_module._running()
    assert server is not None
    os.kill(server, signal.SIGKILL)
    os.waitid(os.P_PID, server, os.WEXITED | os.WNOWAIT)
    if by == "multiprocessing":
        forkserver.ensure_running()
    assert run(runner, reading.application, file=file)["text"] == ""
    assert SECRET not in run(runner, reading.application, file="/proc/self/environ")["text"]
    assert runner_module._running() not in (server, None)


@pytest.mark.parametrize("way", reading.WAYS)
def test_the_ways_lead_to_a_file_that_is_not_closed(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    if way == "by a mount" and os.geteuid() != 0:
        pytest.skip("only root mounts")
    monkeypatch.setenv("SECRETS", "environment")
    seen = run(started(tmp_path), reading.application, file=file, way=way)
    assert seen == {"text": SECRET, "refused": "", "bound": False}


def test_without_a_directory_nothing_is_closed(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRETS_DIR", str(tmp_path / "elsewhere"))
    assert run(started(tmp_path), reading.application, file=file) == {"text": SECRET, "refused": "", "bound": False}


def test_where_nothing_can_be_closed_it_is_said(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(closed, "why_not", lambda directory: "this system has no Landlock (Linux 5.19)")
    assert run(started(tmp_path), reading.application, file=file)["text"] == SECRET
    assert caplog.messages == [f"runs can read the secrets in {file.parent}: this system has no Landlock (Linux 5.19)"]


def test_a_directory_that_cannot_be_closed_stops_the_start(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner_module, "_to_be_closed", lambda: {closed.VARIABLE: "/no/such/directory"})
    with pytest.raises(RunnerNotReady, match="died while it imported"):
        started(tmp_path)


def test_a_file_that_goes_away_meanwhile_stops_no_start(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closed, "_others", lambda directory: iter([file.parent.parent / "gone"]))
    monkeypatch.setattr(closed, "_RESTRICT_SELF", closed._CREATE_RULESET)  # or this process would read nothing more
    closed.close(file.parent)


ANTHROPIC = {"model_fast": "anthropic/claude-haiku-4-5", "model_strong": "anthropic/claude-sonnet-4-5"}
LOCAL = {"model_fast": "ollama/llama3.2", "model_strong": "ollama/llama3.2"}


@pytest.mark.parametrize(
    ("chosen", "given"),
    [
        ({"memory": "none"}, {"openai_api_key"}),
        ({"memory": "none", **ANTHROPIC}, {"anthropic_api_key"}),
        ({"memory": "none", **LOCAL}, set()),
        ({"memory": "none", "model_fast": "deepseek/deepseek-chat"}, {"deepseek_api_key", "openai_api_key"}),
        ({"memory": "none", "model_strong": "openrouter/auto"}, {"openrouter_api_key", "openai_api_key"}),
        ({"memory": "mem0-cloud"}, {"openai_api_key", "mem0_api_key"}),
        ({"memory": "mem0-cloud", **ANTHROPIC}, {"anthropic_api_key", "mem0_api_key"}),
        ({"memory": "volume"}, {"openai_api_key", "embedding_api_key"}),
        ({"memory": "volume", **LOCAL}, {"embedding_api_key"}),
        ({"memory": "pgvector"}, {"openai_api_key", "embedding_api_key", "memory_database_url"}),
        ({"memory": "pgvector", **ANTHROPIC}, {"anthropic_api_key", "embedding_api_key", "memory_database_url"}),
        (
            {"memory": "pgvector", **ANTHROPIC, "embedding_api_key": None},
            {"anthropic_api_key", "openai_api_key", "memory_database_url"},
        ),
        (
            {"memory": "qdrant", **LOCAL, "embedding_api_key": None, "embedding_model": "openrouter/an-embedding"},
            {"openrouter_api_key", "qdrant_api_key"},
        ),
        (
            {"memory": "qdrant", **ANTHROPIC, "embedding_api_key": None, "embedding_model": "ollama/an-embedding"},
            {"anthropic_api_key", "qdrant_api_key"},
        ),
    ],
    ids=str,
)
def test_a_run_is_given_the_keys_that_it_needs(tmp_path: Path, chosen: dict[str, Any], given: set[str]) -> None:
    found = settings_in(tmp_path, **chosen).for_a_run()
    assert {name for name in KEYS if getattr(found, name) is not None} == given


def test_what_is_no_secret_is_given_as_it_is(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, memory="qdrant", qdrant_url="http://qdrant:6333")
    other = {name for name in type(settings).model_fields if name not in KEYS}
    assert settings.for_a_run().model_dump(include=other) == settings.model_dump(include=other)


@pytest.fixture(scope="module")
def looking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    """A runner whose settings have every key; its runs remember nothing."""
    with own_fork_server():
        yield started(tmp_path_factory.mktemp("looking"), memory="none")


@pytest.mark.parametrize("name", KEYS)
def test_a_runs_process_has_the_key_of_its_model_alone(looking: Runner, name: str) -> None:
    """Each is looked for backwards, so that the order itself does not carry it."""
    found = run(looking, faulty, then="look_around", secrets=[KEYS[name][::-1]])["found"]
    assert found == (["its objects"] if name == "openai_api_key" else [])
