"""A company's standards: its template, its locked answers and its policies, in a new project and in updates."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import commit, sh
from updates.conftest import Make
from updates.edits import replace, write
from updates.looked_at import contents
from updates.releases import head

from crewyard import fleet
from crewyard.__main__ import main
from crewyard.doctor.check import check
from crewyard.standards import STANDARDS
from crewyard.step import Step

Said = pytest.CaptureFixture[str]
NOT_POSSIBLE = 2
ANSWERS = "broker: rabbitmq\nsecrets: files\nmodel_fast: openai/gpt-4o\nlocked: [broker, secrets]\n"


@pytest.fixture
def company(tmp_path: Path) -> Path:
    """A company's template, as `crewyard team new` makes it, with answers of its own, as release 1.0."""
    place = tmp_path / "standards"
    assert (
        main(["team", "new", str(place), "--name", "Acme", "--template", "git@git.example.org:acme/crewyard.git"]) == 0
    )
    write(place / "answers.yml", ANSWERS)
    commit(place, "standards", tag="1.0")
    return place


def new(releases: Path, company: Path, place: Path) -> list[str]:
    """The command that makes a project of that company."""
    return ["new", str(place), "--template", str(releases), "--team", str(company), "--yes", "--no-lock"]


@pytest.fixture
def project(releases: Path, company: Path, tmp_path: Path) -> Path:
    """A new project of that company, of an older release of crewyard's template."""
    place = tmp_path / "my-crew"
    assert main([*new(releases, company, place), "--release", "0.6.0"]) == 0
    commit(place, "new")
    return place


def answers(place: Path) -> dict[str, object]:
    found: dict[str, object] = yaml.safe_load((place / ".copier-answers.yml").read_text())
    return found


def update(place: Path, *arguments: str) -> int:
    return main(["update", str(place), "--yes", "--no-lock", *arguments])


def test_a_new_project_has_the_answers_and_the_files(project: Path) -> None:
    found = answers(project)
    assert (found["broker"], found["model_fast"]) == ("rabbitmq", "openai/gpt-4o")
    assert "Acme" in (project / "SECURITY.md").read_text()
    assert (project / ".copier-answers.team.yml").is_file()
    assert yaml.safe_load((project / STANDARDS).read_text())["answers"]["broker"] == "rabbitmq"


def test_a_locked_answer_is_refused_in_a_new_project(
    releases: Path, company: Path, tmp_path: Path, capsys: Said
) -> None:
    made = new(releases, company, tmp_path / "other")
    assert main([*made, "--broker", "redis"]) == NOT_POSSIBLE
    assert "broker is locked by your company's standards" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()
    assert main([*made, "--model-fast", "openai/gpt-4o-mini"]) == 0


def test_a_file_of_the_companys_that_is_managed_is_refused(
    releases: Path, company: Path, tmp_path: Path, capsys: Said
) -> None:
    write(company / "template/Dockerfile", "FROM scratch\n")
    write(company / "template/.gitignore", "theirs\n")
    commit(company, "next", tag="1.1")
    made = new(releases, company, tmp_path / "other")
    assert main(made) == NOT_POSSIBLE
    assert "updates would fight over: Dockerfile." in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_templates_answers_and_policies_come_up_to_date_in_one_update(project: Path, company: Path) -> None:
    write(company / "answers.yml", ANSWERS.replace("rabbitmq", "sqs"))
    replace(company / "policies.yml", "forbidden_packages: []", "forbidden_packages: [litellm]")
    write(company / "template/CODEOWNERS", "* @acme/platform\n")
    commit(company, "next", tag="1.1")
    before = contents(project)
    assert update(project) == 0
    found = answers(project)
    assert (found["_commit"], found["broker"], found["locked"]) == (
        head(),
        "sqs",
        {"broker": "sqs", "secrets": "files"},
    )
    assert "kombu[sqs]" in (project / "pyproject.toml").read_text()
    assert (project / "CODEOWNERS").is_file()
    assert yaml.safe_load((project / STANDARDS).read_text())["policies"]["forbidden_packages"] == ["litellm"]
    assert sh(project, "git", "log", "--format=%s").stdout.splitlines() == ["new"]
    assert main(["update", str(project), "--back", "--yes"]) == 0
    assert contents(project) == before


def test_an_update_is_due_when_the_standards_alone_are_newer(project: Path, company: Path, capsys: Said) -> None:
    assert update(project) == 0
    commit(project, "updated")
    assert main(["update", str(project), "--check"]) == 0
    write(company / "answers.yml", ANSWERS.replace("rabbitmq", "redis"))
    commit(company, "next", tag="1.1")
    assert main(["update", str(project), "--check"]) == 1
    assert ".copier-answers.team.yml: 1.0, behind 1.1" in capsys.readouterr().out
    assert update(project) == 0
    assert answers(project)["broker"] == "redis"


def test_an_older_project_comes_below_the_standards(project_of: Make, company: Path, releases: Path) -> None:
    """As the README of the company's template says it."""
    place = project_of("0.5.0")
    command = (sys.executable, "-m", "copier", "copy", "--quiet", "--answers-file", ".copier-answers.team.yml")
    sh(place, *command, str(company), ".")
    commit(place, "standards")
    assert update(place) == 0
    assert (answers(place)["broker"], answers(place)["_commit"]) == ("rabbitmq", head())


def test_an_update_killed_between_its_turns_is_not_taken_for_committed(
    project: Path, company: Path, monkeypatch: pytest.MonkeyPatch, capsys: Said
) -> None:
    write(company / "template/CODEOWNERS", "* @acme/platform\n")
    commit(company, "next", tag="1.1")
    before = contents(project)
    bring, seen = Step.bring, list[str]()

    def until_the_second(self: Step, *arguments: object) -> None:
        seen.append(self.made.file)
        if len(seen) == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        bring(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Step, "bring", until_the_second)
    if (child := os.fork()) == 0:
        update(project)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    monkeypatch.undo()
    assert not sh(project, "git", "status", "--porcelain").stdout
    assert update(project) == NOT_POSSIBLE
    assert "is not committed" in capsys.readouterr().err
    assert main(["update", str(project), "--back", "--yes"]) == 0
    assert contents(project) == before
    assert sh(project, "git", "log", "--format=%s").stdout.splitlines() == ["new"]


def test_a_question_of_the_companys_own_is_answered_by_its_name(company: Path, project: Path, capsys: Said) -> None:
    with (company / "copier.yml").open("a") as file:
        file.write("\ncost_center:\n  type: str\n  help: Who pays?\n  default: '100'\n")
    write(company / "template/COST.md.jinja", "{{ cost_center }}\n")
    commit(company, "next", tag="1.1")
    assert update(project, "--data", "cost_centre=7") == NOT_POSSIBLE
    assert "asks cost_centre" in capsys.readouterr().err
    assert update(project, "--data", "cost_center=7") == 0
    assert (project / "COST.md").read_text() == "7\n"


def test_a_new_project_has_answers_to_the_companys_questions_too(
    releases: Path, company: Path, tmp_path: Path, capsys: Said
) -> None:
    with (company / "copier.yml").open("a") as file:
        file.write("\ntier:\n  type: str\n  help: Which?\n  choices: [gold, silver]\n")
        file.write("\n_external_data:\n  crewyard: .copier-answers.yml\n")
    named = "{{ _external_data.crewyard.package_name }}"
    write(company / f"template/src/{named}/acme/tools.py.jinja", f'TIER = "{{{{ tier }}}}"  # of {named}\n')
    commit(company, "next", tag="1.1")
    place = tmp_path / "other"
    made = new(releases, company, place)
    for wrong, told in (("tier=bronze", "bronze"), ("teir=gold", "of the name teir")):
        assert main([*made, "--data", wrong]) == NOT_POSSIBLE
        assert told in capsys.readouterr().err
        assert not place.exists()
    assert main([*made, "--data", "tier=gold"]) == 0
    assert (place / "src/other/acme/tools.py").read_text() == 'TIER = "gold"  # of other\n'
    commit(place, "new")
    commit(company, "nothing", tag="1.2")
    assert update(place) == 0
    assert sh(place, "git", "diff", "--name-only").stdout == ".copier-answers.team.yml\n"
    commit(place, "updated")
    replace(company / f"template/src/{named}/acme/tools.py.jinja", "TIER", "LEVEL")
    commit(company, "renamed", tag="1.3")
    assert update(place) == 0, capsys.readouterr().out
    assert (place / "src/other/acme/tools.py").read_text() == 'LEVEL = "gold"  # of other\n'


MISTAKES = {
    "a number": ("python_version: 3.13\nlocked: [python_version]\n", "python_version: 3.13, and an answer is text"),
    "a lock of no question": ("modelfast: openai/gpt-4.1\nlocked: [modelfast]\n", "lock modelfast, and no question"),
    "no Jinja": ('description: "{% raw %}"\n', "answers.yml, line 1, is no template of Jinja"),
    "no YAML": ("description: [\n", "is no YAML"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_of_the_company_is_told_and_its_next_release_mends_it(
    project: Path, company: Path, releases: Path, tmp_path: Path, capsys: Said, mistake: str
) -> None:
    text, told = MISTAKES[mistake]
    write(company / "answers.yml", text)
    commit(company, "a mistake", tag="1.1")
    place = tmp_path / "other"
    made = new(releases, company, place)
    assert main(made) == NOT_POSSIBLE
    assert told in capsys.readouterr().err
    assert not place.exists()
    before = contents(project)
    assert update(project, "--on-failure", "back") in (1, NOT_POSSIBLE)
    said = capsys.readouterr()
    assert told in said.out + said.err
    assert contents(project) == before
    command = (sys.executable, "-m", "copier", "update", "--quiet", "--defaults", "-a", ".copier-answers.team.yml")
    if mistake != "no Jinja":  # which Copier refuses
        sh(project, *command)
        commit(project, "by plain Copier")
    write(company / "answers.yml", ANSWERS)
    commit(company, "mended", tag="1.2")
    assert update(project) == 0
    assert answers(project)["_commit"] == head()


def test_a_later_release_of_the_companys_with_a_managed_file_is_refused(
    project: Path, company: Path, capsys: Said
) -> None:
    write(company / "template/Dockerfile", "FROM scratch\n")
    commit(company, "next", tag="1.1")
    before = contents(project)
    assert update(project) == NOT_POSSIBLE
    assert "updates would fight over: Dockerfile." in capsys.readouterr().err
    assert contents(project) == before


@pytest.mark.parametrize(
    ("source", "requirement"),
    [
        ("git@git.example.org:acme/crewyard.git", "git+ssh://git@git.example.org/acme/crewyard.git"),
        ("gh:acme/crewyard", "git+https://github.com/acme/crewyard.git"),
        ("git+https://git.example.org/crewyard", "git+https://git.example.org/crewyard"),
    ],
)
def test_the_companys_tests_install_the_command_from_where_it_is(tmp_path: Path, source: str, requirement: str) -> None:
    assert main(["team", "new", str(tmp_path / "standards"), "--template", source]) == 0
    assert f'"crewyard @ {requirement}"' in (tmp_path / "standards/pyproject.toml").read_text()


@pytest.mark.parametrize("wrong", [("--name", "A\nB"), ("--name", 'A"B'), ("--template", "/nowhere/crewyard")])
def test_a_company_that_cannot_be_is_refused(tmp_path: Path, wrong: tuple[str, str], capsys: Said) -> None:
    given = {"--template": "https://git.example.org/crewyard.git", **dict([wrong])}
    assert main(["team", "new", str(tmp_path / "standards"), *(part for pair in given.items() for part in pair)]) == 2
    assert wrong[0] in capsys.readouterr().err
    assert not (tmp_path / "standards").exists()


def test_the_fleet_sees_who_is_behind_the_company(project: Path, company: Path, capsys: Said) -> None:
    assert update(project) == 0
    commit(project, "updated")
    capsys.readouterr()
    assert main(["fleet", str(project), "--no-doctor"]) == 0
    commit(company, "next", tag="1.1")
    fleet._asked.cache_clear()
    assert main(["fleet", str(project), "--no-doctor"]) == 1
    assert "team to 1.1" in capsys.readouterr().out


def test_an_edit_of_the_companys_file_is_an_honest_conflict(project: Path, company: Path, capsys: Said) -> None:
    write(project / "SECURITY.md", "# Ours\n")
    commit(project, "edited")
    write(company / "template/SECURITY.md", "# Of Acme, as of now\n")
    commit(company, "next", tag="1.1")
    before = contents(project)
    assert update(project) == 1
    assert "SECURITY.md: you and the new release have both changed it" in capsys.readouterr().out
    assert main(["update", str(project), "--back", "--yes"]) == 0
    assert contents(project) == before


def test_its_own_tests_pass(releases: Path, company: Path) -> None:
    """With the command of this repository, and these releases in place of where it was installed from."""
    tests = company / "tests/test_standards.py"
    replace(tests, '"--team", str(standards)', f'"--template", "{releases}", "--team", str(standards)')
    command = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(company), str(company))
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        command, cwd=company, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
    )
    assert "3 passed" in done.stdout, done.stdout


ADDED = '\n[project.optional-dependencies]\nmore = ["Lite-LLM>=1"]\n'
BREACHES = {
    "P01": ({"models": ["openai/gpt-4o-mini"]}, "src/my_crew/crew.py", '\nMODEL = "openai/o3"\n'),
    "P02": ({"providers": ["openai"]}, "src/my_crew/crew.py", '\nMODEL = "deepseek/deepseek-chat"\n'),
    "P03": ({"required_guardrails": ["no_personal_data"]}, None, ""),
    "P04": ({"minimum_cooldown": "2 weeks"}, None, ""),
    "P05": ({"forbidden_packages": ["lite_llm"]}, "pyproject.toml", ADDED),
    "P00": ({"models": "openai"}, None, ""),
}  # fmt: skip


@pytest.mark.parametrize("rule", BREACHES)
def test_the_doctor_holds_a_project_to_the_policies(project_of: Make, rule: str) -> None:
    policies, file, text = BREACHES[rule]
    place = project_of(head())
    write(place / STANDARDS, yaml.safe_dump({"policies": policies}))
    if file:
        with (place / file).open("a") as opened:
            opened.write(text)
    found = [finding for finding in check([place]).findings if finding.rule.startswith("P")]
    assert rule in {finding.rule for finding in found}, found
    assert all(finding.severity == "error" for finding in found)


def test_a_project_that_keeps_them_has_no_breach(project_of: Make) -> None:
    place = project_of(head())
    policies = {
        "models": ["openai/*"],
        "providers": ["openai"],
        "required_guardrails": ["cites_sources"],
        "minimum_cooldown": "3 days",
        "forbidden_packages": ["litellm"],
    }
    write(place / STANDARDS, yaml.safe_dump({"policies": policies}))
    with (place / "src/my_crew/crew.py").open("a") as opened:
        opened.write(
            "\ncites_sources = None\nGUARDRAILS = [cites_sources]  # crewyard: allow F01 because it is nothing\n"
        )
    assert not [finding for finding in check([place]).findings if finding.rule.startswith("P")]


def test_the_managed_runtime_is_not_held_to_them_and_what_is_above_counts(project_of: Make) -> None:
    place = project_of(head(), model_fast="deepseek/deepseek-chat", model_strong="deepseek/deepseek-reasoner")
    write(place.parent / STANDARDS, yaml.safe_dump({"policies": {"providers": ["deepseek"]}}))
    assert not [finding for finding in check([place]).findings if finding.rule.startswith("P")]
    with (place / "src/my_crew/crew.py").open("a") as opened:
        opened.write('\nMODELS = ["openai/o3", "groq/llama"]\n')
    for path in (place, place / "src", place.parent):
        assert [finding.rule for finding in check([path]).findings if finding.rule.startswith("P")] == ["P02", "P02"]


@pytest.mark.parametrize(
    ("cooldown", "kept"),
    [
        ("7 days", True), ("1 week", True), ("P7D", True), ("200 hours", True), ("2020-01-01", True),
        ("2020-01-01T00:00:00Z", True), ("6 days", False), ("P6D", False), ("2 hours", False), ("2099-01-01", False),
    ],
)  # fmt: skip
def test_a_cooldown_is_read_as_uv_reads_it(tmp_path: Path, cooldown: str, kept: bool) -> None:
    write(tmp_path / STANDARDS, "policies: {minimum_cooldown: 7 days}\n")
    write(tmp_path / "pyproject.toml", f'[tool.uv]\nexclude-newer = "{cooldown}"\n')
    assert [finding.rule for finding in check([tmp_path]).findings] == ([] if kept else ["P04"])
