"""Where a setting comes from, which source wins, and how settings cross the border to a run's process."""

import json
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from crewyard_runtime import ApplicationSettings
from crewyard_runtime.settings import RuntimeSettings, plain
from pydantic import BaseModel, Secret, SecretBytes, SecretStr, ValidationError

PLATFORM = 'model_fast = "openai/of-platform"\n'


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project as the working directory, and no variable but those that a process cannot do without."""
    for name in set(os.environ) - {"PATH", "HOME"}:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "platform.toml").touch()
    return tmp_path


def set_all(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


SOURCES = ["given", "environment", ".env", "platform.toml"]


@pytest.mark.parametrize(
    ("highest", "expected"),
    [
        ("given", "openai/of-the-caller"),
        ("environment", "openai/of-the-environment"),
        (".env", "openai/of-dotenv"),
        ("platform.toml", "openai/of-platform"),
        ("none", "openai/gpt-4o-mini"),
    ],
)
def test_the_highest_source_wins(place: Path, monkeypatch: pytest.MonkeyPatch, highest: str, expected: str) -> None:
    there = SOURCES[SOURCES.index(highest) :] if highest in SOURCES else []
    if "platform.toml" in there:
        (place / "platform.toml").write_text(PLATFORM)
    if ".env" in there:
        (place / ".env").write_text("MODEL_FAST=openai/of-dotenv\n")
    if "environment" in there:
        monkeypatch.setenv("MODEL_FAST", "openai/of-the-environment")
    given = {"model_fast": "openai/of-the-caller"} if "given" in there else {}
    assert RuntimeSettings.load(**given).model_fast == expected


def test_a_project_is_found_from_a_directory_inside_of_it(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "platform.toml").write_text(PLATFORM)
    (place / ".env").write_text("MODEL_STRONG=openai/of-dotenv\n")
    (place / "src/deep").mkdir(parents=True)
    monkeypatch.chdir(place / "src/deep")
    found = RuntimeSettings.load()
    assert (found.model_fast, found.model_strong) == ("openai/of-platform", "openai/of-dotenv")


@pytest.mark.parametrize(
    ("variables", "fast", "strong"),
    [
        ({"CREWAI_LLM_MODEL": "ollama/llama3"}, "ollama/llama3", "ollama/llama3"),
        ({"CREWAI_LLM_MODEL": "ollama/llama3", "MODEL_FAST": "openai/x"}, "openai/x", "ollama/llama3"),
        ({"CREWAI_LLM_MODEL": "ollama/llama3", "MODEL_STRONG": "openai/x"}, "ollama/llama3", "openai/x"),
    ],
)
def test_crewais_own_variable_sets_both_models_unless_ours_is_there(
    place: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], fast: str, strong: str
) -> None:
    (place / "platform.toml").write_text(PLATFORM)
    set_all(monkeypatch, **variables)
    found = RuntimeSettings.load()
    assert (found.model("fast"), found.model("strong")) == (fast, strong)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, None),
        ({"TEMPERATURE": "0.2"}, 0.2),
        ({"CREWAI_TEMPERATURE": "0.7"}, 0.7),
        ({"TEMPERATURE": "0.2", "CREWAI_TEMPERATURE": "0.7"}, 0.2),
    ],
)
def test_the_temperature_has_two_names_and_ours_wins(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: float | None
) -> None:
    set_all(monkeypatch, **variables)
    assert RuntimeSettings.load().temperature == expected


def test_a_limit_from_a_variable_leaves_the_limits_of_the_platform_file(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "platform.toml").write_text("[limits]\nmax_iter = 5\ntool_seconds = 9\n")
    monkeypatch.setenv("LIMITS__MAX_ITER", "3")
    limits = RuntimeSettings.load().limits
    assert (limits.max_iter, limits.tool_seconds, limits.model_seconds) == (3, 9, 60)


def test_a_limit_that_does_not_exist_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIMITS__MAX_ITERATIONS", "3")
    with pytest.raises(ValidationError, match="max_iterations"):
        RuntimeSettings.load()


@pytest.mark.parametrize("from_file", [False, True], ids=["environment", ".env"])
def test_an_empty_variable_counts_as_not_set(place: Path, monkeypatch: pytest.MonkeyPatch, from_file: bool) -> None:
    (place / "platform.toml").write_text(PLATFORM)
    empty = dict.fromkeys(("MODEL_FAST", "TEMPERATURE", "OPENAI_API_KEY", "WRITABLE_DIR", "LIMITS__MAX_ITER"), "")
    if from_file:
        (place / ".env").write_text("".join(f"{name}=\n" for name in empty))
    else:
        set_all(monkeypatch, **empty)
    found = RuntimeSettings.load()
    assert (found.model_fast, found.temperature, found.openai_api_key) == ("openai/of-platform", None, None)
    assert found.limits.max_iter == 7
    assert found.writable_dir.is_absolute()


@pytest.mark.parametrize(
    ("model", "key"),
    [
        ("gpt-4o", "of-openai"),
        ("openai/gpt-4o", "of-openai"),
        ("anthropic/claude-sonnet-4", "of-anthropic"),
        ("openrouter/meta/llama-3", "of-openrouter"),
        ("deepseek/chat", "of-deepseek"),
        ("ollama/llama3", None),
    ],
)
def test_a_model_gets_the_key_of_its_provider(model: str, key: str | None) -> None:
    keys = {f"{name}_api_key": f"of-{name}" for name in ("openai", "anthropic", "openrouter", "deepseek")}
    found = RuntimeSettings.load(**keys).api_key(model)
    assert (found and found.get_secret_value()) == key


class Mailbox(BaseModel):
    """A nested model with a secret."""

    address: str
    password: SecretStr


class Team(ApplicationSettings):
    """What a team may declare."""

    token: SecretStr
    pin: Secret[int]
    pepper: SecretBytes
    mailboxes: list[Mailbox]
    tenants: dict[str, SecretStr]
    archive: Path
    patience: timedelta
    nickname: str | None = None


TEAM: dict[str, Any] = {
    "token": "t-secret",
    "pin": 1234,
    "pepper": b"p-secret",
    "mailboxes": [{"address": "a@example.org", "password": "m-secret"}],
    "tenants": {"north": "n-secret"},
    "archive": Path("/var/archive"),
    "patience": timedelta(seconds=90),
}


def test_a_teams_variables_win_over_its_dotenv(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / ".env").write_text("TOKEN=of-dotenv\nNICKNAME=of-dotenv\nUNKNOWN=1\n")
    monkeypatch.setenv("NICKNAME", "of-the-environment")
    given = {name: value for name, value in TEAM.items() if name != "token"}
    found = Team.load(**given)
    assert (found.token.get_secret_value(), found.nickname) == ("of-dotenv", "of-the-environment")


def test_plain_reveals_secrets_however_deep_they_are() -> None:
    data = plain(Team(**TEAM))
    assert data["token"] == "t-secret"
    assert data["pin"] == 1234
    assert data["pepper"] in ("p-secret", b"p-secret")
    assert data["mailboxes"] == [{"address": "a@example.org", "password": "m-secret"}]
    assert data["tenants"] == {"north": "n-secret"}


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param(lambda: Team(**TEAM), id="a team's"),
        pytest.param(lambda: RuntimeSettings(openai_api_key=SecretStr("k"), writable_dir=Path("/tmp/x")), id="ours"),
    ],
)
def test_plain_settings_come_back_equal_from_json(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    before = settings()
    text = json.dumps(plain(before))
    set_all(monkeypatch, MODEL_FAST="openai/of-another-process", NICKNAME="of another process", LIMITS__MAX_ITER="99")
    assert type(before)(**json.loads(text)) == before


def test_a_value_is_not_shown_where_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATIENCE", "a-secret-in-the-wrong-place")
    with pytest.raises(ValidationError) as refused:
        Team.load()
    assert "patience" in str(refused.value)
    assert "a-secret" not in str(refused.value)


def test_a_secret_is_not_shown_where_settings_are_printed() -> None:
    shown = f"{Team(**TEAM)!r} {RuntimeSettings(openai_api_key=SecretStr('k-secret'))}"
    assert "secret" not in shown.replace("_secret", "")
