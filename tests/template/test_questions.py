"""Every answer renders a project that reads as if written by hand; a wrong one is refused with what to type."""

import random
import re
import sys
import tomllib
from pathlib import Path

import copier
import pytest
import yaml
from conftest import REPOSITORY, Render, sh

QUESTIONS = {
    name: question
    for name, question in yaml.safe_load((REPOSITORY / "copier.yml").read_text()).items()
    if not name.startswith("_") and question.get("when") is not False  # which is never asked
}
NAMES = ["my-crew", "a", "desk24", "very-long-name-for-a-crew-of-agents-x", "crewman", "zz-top", "agents-of-the-north"]
TEXTS = ["Answers tickets.", "Reads 100% of it & more; don't ask <why>: it's #1.", "Ünïcödé 日本語", "x" * 100]
FRAMEWORKS = ["crewai", "autogen", "agentchat", "agent-framework"]
CODE_EXECUTIONS = ["none", "docker", "local"]
BROKERS = ["redis", "rabbitmq", "sqs"]
AUTHS = ["api-keys", "oidc"]
SECRETS = ["files", "environment", "aws", "gcp", "azure"]
DEPLOYS = ["compose", "kubernetes"]
MEMORIES = ["pgvector", "qdrant", "mem0-cloud", "volume", "none"]
MODELS = ["openai/gpt-4o-mini", "openai/o3", "anthropic/claude-sonnet-4-5", "ollama/llama3.2:3b", "openrouter/x/y-1"]
CREWAI_ALONE = {
    "memory": "volume",
    "model_fast": "anthropic/claude-sonnet-4-5",
    "model_strong": "anthropic/claude-sonnet-4-5",
}


def _answers(seed: int) -> dict[str, str]:
    choose = random.Random(seed).choice
    framework = choose(FRAMEWORKS)
    answers = {
        "project_name": choose(NAMES),
        "description": choose(TEXTS),
        "framework": framework,
        "model_fast": choose(MODELS),
        "model_strong": choose(MODELS),
        "broker": choose(BROKERS),
        "auth": choose(AUTHS),
        "memory": choose(MEMORIES),
        "code_execution": choose(CODE_EXECUTIONS),
        "secrets": choose(SECRETS),
        "deploy": choose(DEPLOYS),
        "python_version": choose(["3.11", "3.12", "3.13"]),
    }
    defaults = {} if framework == "crewai" else CREWAI_ALONE
    return {name: value for name, value in answers.items() if defaults.get(name) != value}


def _single_choices() -> list[dict[str, str]]:
    pairs = {"project_name": NAMES, "description": TEXTS, "model_fast": MODELS, "model_strong": MODELS}
    named = [{name: value} for name, values in pairs.items() for value in values]
    lists = {
        "framework": FRAMEWORKS,
        "broker": BROKERS,
        "auth": AUTHS,
        "memory": MEMORIES,
        "code_execution": CODE_EXECUTIONS,
        "secrets": SECRETS,
        "deploy": DEPLOYS,
        "python_version": ["3.11", "3.12", "3.13"],
    }
    return [*named, *({name: value} for name, values in lists.items() for value in values)]


def _rendered_texts(project: Path) -> dict[str, str]:
    files = (path for path in project.rglob("*") if path.is_file() and "runtime" not in path.relative_to(project).parts)
    return {str(path.relative_to(project)): path.read_text("utf-8") for path in files}


@pytest.mark.parametrize("answers", [*_single_choices(), *map(_answers, range(30))], ids=str)
def test_answers_render_a_clean_project(render: Render, answers: dict[str, str]) -> None:
    place = render(**answers)
    for name, text in _rendered_texts(place).items():
        assert not re.search(r"(?<!\$)\{\{|\{%|%\}", text), f"{name} holds Jinja"
        assert "\n\n\n\n" not in text, f"{name} has a blank-line scar"
        assert not re.search(r"[ \t]+$", text, re.MULTILINE), f"{name} has trailing blanks"
        assert text.endswith("\n"), f"{name} does not end with a line break"
        assert not text.endswith("\n\n"), f"{name} ends with a blank line"
    project = tomllib.loads((place / "pyproject.toml").read_text("utf-8"))
    framework = answers.get("framework", "crewai")
    of_crewai = ["kickoff"] if framework == "crewai" else []
    assert list(project["project"]["scripts"]) == [answers.get("project_name", "my-crew"), *of_crewai]
    assert tomllib.loads((place / "platform.toml").read_text("utf-8"))["framework"] == framework
    yaml.safe_load((place / ".github/workflows/crewyard.yml").read_text("utf-8"))
    sh(place, sys.executable, "-m", "ruff", "check", "--no-cache", ".")
    sh(place, sys.executable, "-m", "ruff", "format", "--no-cache", "--check", ".")


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ({"project_name": "My Crew"}, "for example my-crew"),
        ({"project_name": "crew_1"}, "single hyphens"),
        ({"project_name": "-crew"}, "cannot be a command"),
        ({"project_name": ""}, "cannot be a command"),
        ({"project_name": "x" * 41}, "at most 40"),
        ({"project_name": "crewai"}, "another name, for example crewai-desk"),
        ({"project_name": "json"}, "standard library: type another, for example json_crew"),
        ({"package_name": "my-crew"}, "for example my_crew"),
        ({"package_name": "2crew"}, "cannot be a Python package"),
        ({"package_name": "class"}, "a word of the Python language"),
        ({"package_name": "email"}, "standard library"),
        ({"package_name": "crewyard_runtime"}, "a package that the project needs"),
        ({"package_name": "crewai"}, "a package that the project needs"),
        ({"description": 'It is "good".'}, "double quotes"),
        ({"description": "two\nlines"}, "line breaks"),
        ({"description": " "}, "at most 100"),
        ({"description": "x" * 101}, "at most 100"),
        ({"model_fast": "gpt-4o"}, "for example openai/gpt-4o-mini"),
        ({"model_strong": "gemini/pro"}, "as the provider"),
        ({"model_strong": "openai/"}, "for example openai/gpt-4o"),
        ({"framework": "langchain"}, "Invalid choice"),
        ({"memory": "redis"}, "Invalid choice"),
        ({"code_execution": "e2b"}, "Invalid choice"),
        ({"secrets": "vault"}, "Invalid choice"),
        ({"deploy": "swarm"}, "Invalid choice"),
        ({"framework": "agentchat", "memory": "volume"}, "take pgvector, qdrant, mem0-cloud or none with agentchat"),
        (
            {"framework": "autogen", "model_fast": "anthropic/claude-sonnet-4-5"},
            "openrouter/anthropic/claude-sonnet-4-5",
        ),
        ({"package_name": "mem0"}, "a package that the project needs"),
        ({"python_version": "3.14"}, "Invalid choice"),
    ],
    ids=str,
)
def test_a_wrong_answer_is_refused_with_what_to_type(render: Render, answers: dict[str, str], said: str) -> None:
    with pytest.raises((copier.errors.CopierError, ValueError)) as refused:
        render(**answers)
    assert said in str(refused.value)


def test_every_module_of_the_standard_library_is_refused_as_a_package(render: Render) -> None:
    text = (REPOSITORY / "copier.yml").read_text("utf-8")
    public = {name for name in sys.stdlib_module_names if not name.startswith("_")}
    assert not public - set(re.findall(r"\w+", text))


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_question_has_help_and_a_default(name: str) -> None:
    assert "?" in QUESTIONS[name]["help"]
    assert QUESTIONS[name]["default"]


def test_a_free_question_has_a_validator() -> None:
    free = {name for name, question in QUESTIONS.items() if "choices" not in question}
    assert not [name for name in free if "validator" not in QUESTIONS[name]]


def test_a_copy_needs_no_trust() -> None:
    configuration = yaml.safe_load((REPOSITORY / "copier.yml").read_text())
    assert not {"_tasks", "_jinja_extensions", "_migrations"} & set(configuration)


@pytest.mark.parametrize("place", ["project", "../beside/project", "link/project"])
def test_a_copy_goes_to_any_path(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "real").mkdir()
    (tmp_path / "here/link").symlink_to(tmp_path / "real")
    monkeypatch.chdir(tmp_path / "here")
    copier.run_copy(str(template), place, data={"package_name": "desk"}, defaults=True, quiet=True, unsafe=False)
    assert Path(place, "src/desk/crew.py").is_file()


def test_an_existing_directory_keeps_its_files(template: Path, tmp_path: Path) -> None:
    place = tmp_path / "project"
    mine = place / "src" / "my_crew" / "crew.py"
    mine.parent.mkdir(parents=True)
    mine.write_text("# mine\n")
    copier.run_copy(str(template), place, defaults=True, quiet=True, unsafe=False)
    assert mine.read_text() == "# mine\n"
    assert (place / "pyproject.toml").is_file()


def test_names_and_seeds_of_the_random_answers_differ() -> None:
    sets = [_answers(seed) for seed in range(30)]
    assert len({tuple(each.items()) for each in sets}) > 25
    for name in _answers(0) | dict.fromkeys(CREWAI_ALONE):
        assert len({each.get(name) for each in sets}) > 1
