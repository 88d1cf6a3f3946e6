"""`crewyard update`: what it tells, what it refuses, and that it leaves a project updated or as it was."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import copier
import pytest
from conftest import commit, sh
from updates.conftest import Make
from updates.edits import replace, write
from updates.looked_at import contents, unmerged
from updates.releases import head, release, released

from crewyard.__main__ import main
from crewyard.before import alone
from crewyard.project import Project

Said = pytest.CaptureFixture[str]
OLD = "0.5.0"
GONE = "runtime/src/crewyard_runtime/frameworks/crewai/messages.py"  # since 0.5.0
NOT_POSSIBLE = 2


def update(project: Path, *arguments: str) -> int:
    return main(["update", str(project), "--yes", "--no-lock", *arguments])


def state(project: Path) -> tuple[dict[str, bytes], str]:
    """Its files, and what git says of them."""
    return contents(project), sh(project, "git", "status", "--porcelain", "--ignored").stdout


def assert_nothing_to_go_back_from(project: Path, capsys: Said) -> None:
    """That `--back` refuses, and leaves alone what has come since."""
    write(project / "draft.md", "mine\n")
    before = state(project)
    assert main(["update", str(project), "--back", "--yes"]) == NOT_POSSIBLE
    assert "nothing to go back from" in capsys.readouterr().err
    assert state(project) == before


def test_it_tells_what_the_releases_between_change(project_of: Make, capsys: Said) -> None:
    project = project_of("0.4.0")
    assert update(project) == 0
    said = capsys.readouterr().out
    assert "## 0.5.0" in said
    assert f"0.4.0 to {head()}" in said
    assert "## 0.4.0" not in said
    assert update(project) == NOT_POSSIBLE  # it is not committed yet
    commit(project, "updated")
    assert update(project) == 0
    assert "newest release" in capsys.readouterr().out


def test_check_tells_whether_it_is_behind_and_changes_nothing(project_of: Make, capsys: Said) -> None:
    old, new = project_of(OLD), project_of(head(), name="new")
    before = state(old)
    assert main(["update", str(old), "--check"]) == 1
    assert f"behind {head()}" in capsys.readouterr().out
    assert state(old) == before
    assert main(["update", str(new), "--check"]) == 0


@pytest.fixture
def in_conflict(project_of: Make) -> Path:
    """A project whose team has edited what the next release edits too, and a managed file that it does not have."""
    project = project_of("0.4.0")
    workflow = project / ".github/workflows/crewyard.yml"
    workflow.write_text("".join(f"{line} # ours\n" for line in workflow.read_text().splitlines()))
    (project / GONE).write_text((project / GONE).read_text() + "\nOURS = True\n")
    commit(project, "edited")
    return project


def test_a_conflict_is_named_with_its_reason_and_place(in_conflict: Path, capsys: Said) -> None:
    before = state(in_conflict)
    assert update(in_conflict) == 1
    said = capsys.readouterr().out
    assert ".github/workflows/crewyard.yml: you and the new release have both changed it. It is managed" in said
    assert "`.github/workflows/project.yml`" in said
    assert f"{GONE}: the new release has none, and your edits of it are in git alone" in said
    assert unmerged(in_conflict) == [".github/workflows/crewyard.yml"]
    assert "<<<<<<< before updating" in (in_conflict / ".github/workflows/crewyard.yml").read_text()
    assert main(["update", str(in_conflict), "--back", "--yes"]) == 0
    assert state(in_conflict) == before


def test_a_failure_goes_back_if_told_so(in_conflict: Path) -> None:
    before = state(in_conflict)
    assert update(in_conflict, "--on-failure", "back") == 1
    assert state(in_conflict) == before


def test_going_back_restores_what_git_leaves_out(project_of: Make) -> None:
    project = project_of(OLD)
    (project / ".gitignore").write_text((project / ".gitignore").read_text() + "\nuv.lock\ncompose.yaml\nnotes/\n")
    commit(project, "edited")
    for name in (".env", "uv.lock", "compose.yaml", "notes/one"):
        write(project / name, f"ours: {name}\n")
    before = {name: (project / name).read_text() for name in (".env", "uv.lock", "compose.yaml", "notes/one")}
    status = state(project)
    update(project)
    (project / "uv.lock").write_text("another\n")
    assert main(["update", str(project), "--back", "--yes"]) == 0
    assert {name: (project / name).read_text() for name in before} == before
    assert state(project) == status


def test_going_back_never_takes_a_commit_of_the_teams(project_of: Make, capsys: Said) -> None:
    project = project_of(OLD)
    assert update(project) == 0
    commit(project, "updated")
    assert main(["update", str(project), "--back", "--yes"]) == NOT_POSSIBLE
    assert "committed since" in capsys.readouterr().err


def test_who_went_back_by_git_keeps_what_comes_after(project_of: Make, capsys: Said) -> None:
    project = project_of(OLD)
    assert update(project) == 0
    sh(project, "git", "checkout", "--quiet", ".")
    sh(project, "git", "clean", "--force", "-d", "--quiet")
    write(project / "README.md", "# Mine\n")
    assert update(project) == NOT_POSSIBLE
    assert "commit or stash them first" in capsys.readouterr().err
    assert_nothing_to_go_back_from(project, capsys)


def test_a_file_that_git_is_told_not_to_show_is_seen(project_of: Make, capsys: Said) -> None:
    project = project_of(OLD)
    sh(project, "git", "config", "status.showUntrackedFiles", "no")
    write(project / "notes.md", "precious\n")
    assert update(project) == NOT_POSSIBLE
    assert "notes.md" in capsys.readouterr().err


def test_a_file_that_git_ignores_is_not_replaced_in_silence(project_of: Make, capsys: Said) -> None:
    project = project_of("0.5.0")
    with (project / ".gitignore").open("a") as file:
        file.write("compose.yaml\n.env\n")
    commit(project, "ignored")
    write(project / "compose.yaml", "services: {}\n")
    write(project / ".env", "KEY=1\n")
    before = state(project)
    assert update(project) == 1
    said = capsys.readouterr().out
    assert "compose.yaml: git ignores it" in said
    assert ".env:" not in said
    assert main(["update", str(project), "--back", "--yes"]) == 0
    assert state(project) == before


def test_another_branch_has_no_way_back(project_of: Make, capsys: Said) -> None:
    project = project_of(OLD)
    sh(project, "git", "branch", "upgrade")
    main_branch = sh(project, "git", "branch", "--show-current").stdout.strip()
    sh(project, "git", "checkout", "--quiet", "upgrade")
    assert update(project) == 0
    commit(project, "updated")
    sh(project, "git", "checkout", "--quiet", main_branch)
    assert_nothing_to_go_back_from(project, capsys)


def test_a_refused_answer_leaves_no_way_back(project_of: Make, capsys: Said) -> None:
    project = project_of(OLD)
    assert update(project, "--data", "framework=langchain") == NOT_POSSIBLE
    assert_nothing_to_go_back_from(project, capsys)


def test_one_update_at_a_time(project_of: Make, capsys: Said) -> None:
    project = project_of(OLD)
    before = state(project)
    with alone(project):
        assert update(project) == NOT_POSSIBLE
        assert "Another update" in capsys.readouterr().err
    assert state(project) == before
    assert update(project) == 0


def test_after_its_commit_an_update_is_no_longer_open(project_of: Make, capsys: Said) -> None:
    project = project_of(OLD)
    assert update(project) == 0
    commit(project, "updated")
    write(project / "README.md", "# Mine\n")
    assert update(project, "--deploy", "kubernetes") == NOT_POSSIBLE
    assert "commit or stash them first" in capsys.readouterr().err


def _dirty(project: Path) -> None:
    (project / "README.md").write_text("ours\n")


def _no_git(project: Path) -> None:
    shutil.rmtree(project / ".git")


def _no_commit(project: Path) -> None:
    _no_git(project)
    sh(project, "git", "init", "--quiet")


def _answers(old: str, new: str) -> Callable[[Path], None]:
    def edit(project: Path) -> None:
        replace(project / ".copier-answers.yml", old, new)
        commit(project, "edited by hand")

    return edit


def _no_answers(project: Path) -> None:
    (project / ".copier-answers.yml").unlink()
    commit(project, "deleted")


def _in_a_merge(project: Path) -> None:
    (project / ".copier-answers.yml").write_text("<<<<<<< ours\nbroker: redis\n=======\nbroker: sqs\n>>>>>>> theirs\n")
    commit(project, "merged badly")


REFUSED = {
    "a dirty tree": (_dirty, (), "README.md"),
    "no git": (_no_git, (), "`git init`"),
    "no commit": (_no_commit, (), "`git commit`"),
    "no answers file": (_no_answers, (), ".copier-answers.yml"),
    "a conflict in the answers file": (_in_a_merge, (), "is no YAML"),
    "no _commit": (_answers(f"_commit: {OLD}\n", ""), (), "does not tell _commit"),
    "a tag that is gone": (_answers(f"_commit: {OLD}\n", "_commit: 0.4.9\n"), (), "no release 0.4.9 any more"),
    "a _commit that is no version": (_answers(f"_commit: {OLD}\n", "_commit: main\n"), (), "main is no version"),
    "an answer edited by hand": (_answers("broker: redis", "broker: rabbitmq"), (), "--data broker=rabbitmq"),
    "an answer taken out by hand": (_answers("broker: redis\n", ""), (), "says nothing of broker"),
    "a newer project": (_answers(f"_commit: {OLD}\n", "_commit: 99.0.0\n"), (), "no release 99.0.0"),
    "a release that is none": (None, ("--release", "0.5.9"), "no release 0.5.9"),
    "an older release": (None, ("--release", "0.3.0"), "goes forward"),
    "a template that is not there": (None, ("--template", "/nowhere/crewyard"), "does not answer"),
    "an answer without a name": (None, ("--data", "redis"), "--data NAME=VALUE"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_refused_with_a_sentence(project_of: Make, capsys: Said, name: str) -> None:
    edit, arguments, sentence = REFUSED[name]
    project = project_of(OLD)
    if edit:
        edit(project)
    before = {path: path.read_bytes() for path in project.rglob("*") if path.is_file() and ".git" not in path.parts}
    assert update(project, *arguments) == NOT_POSSIBLE
    said = capsys.readouterr().err
    assert sentence in said
    assert "Traceback" not in said
    assert all(path.read_bytes() == text for path, text in before.items())


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ("broker=kafka", "kafka"),
        ("package_name=other", "since the first copy"),
        ("model_fast=gpt-4o", "provider/model"),
    ],
)
def test_an_answer_that_cannot_be_is_refused_and_nothing_changed(
    project_of: Make, capsys: Said, data: str, sentence: str
) -> None:
    project = project_of(OLD)
    before = state(project)
    assert update(project, "--data", data) == NOT_POSSIBLE
    assert sentence in capsys.readouterr().err
    assert state(project) == before


def _detached(project: Path) -> None:
    sh(project, "git", "checkout", "--quiet", "--detach")


def _renamed(project: Path) -> None:
    replace(project / "pyproject.toml", '[project]\nname = "my-crew"\n', '[project]\nname = "our-desk"\n')
    replace(project / "pyproject.toml", "my-crew = ", "our-desk = ")
    commit(project, "renamed")


def _unknown_answer(project: Path) -> None:
    with (project / ".copier-answers.yml").open("a") as file:
        file.write("colour: red\n")
    commit(project, "an answer to a question that is gone")


TAKEN = {"a detached head": _detached, "a project renamed by hand": _renamed, "an answer that is gone": _unknown_answer}


@pytest.mark.parametrize("name", TAKEN)
def test_what_is_odd_is_brought_all_the_same(project_of: Make, name: str) -> None:
    project = project_of(OLD)
    TAKEN[name](project)
    assert update(project) == 0
    assert f"_commit: {head()}\n" in (project / ".copier-answers.yml").read_text()


def test_a_relative_path_of_the_template_is_made_whole(releases: Path, project_of: Make) -> None:
    project = project_of(OLD)
    shutil.copytree(releases, project.parent / "template", symlinks=True)
    _answers(f"_src_path: {releases}\n", "_src_path: ../template\n")(project)
    assert update(project) == 0
    assert f"_src_path: {project.parent}/template\n" in (project / ".copier-answers.yml").read_text()
    assert sh(project, "git", "log", "--format=%s").stdout.splitlines()[0] == "edited by hand"


def test_a_template_that_has_moved_is_followed(releases: Path, project_of: Make, tmp_path: Path, capsys: Said) -> None:
    project = project_of(OLD)
    _answers(f"_src_path: {releases}\n", "_src_path: /gone/template\n")(project)
    assert update(project) == NOT_POSSIBLE
    assert "--template" in capsys.readouterr().err
    moved = tmp_path / "moved"
    shutil.copytree(releases, moved, symlinks=True)
    assert update(project, "--template", str(moved)) == 0
    assert f"_src_path: {moved}\n" in (project / ".copier-answers.yml").read_text()


def test_a_long_path_with_spaces_is_replaced_whole(releases: Path, project_of: Make, tmp_path: Path) -> None:
    project = project_of(OLD)
    folded = f"_src_path: /gone/{'a long name ' * 5}\n  {'and more ' * 5}of it\n"
    _answers(f"_src_path: {releases}\n", folded)(project)
    moved = tmp_path / "a directory with a long name" / "and another one below it"
    shutil.copytree(releases, moved, symlinks=True)
    assert update(project, "--template", str(moved)) == 0
    assert Project(project).made.source == str(moved)


def test_a_project_in_a_directory_of_a_repository_touches_no_other(project_of: Make, originals: Make) -> None:
    project = project_of(OLD, name="repository/crews/support")
    shutil.rmtree(project / ".git")
    root = project.parent.parent
    write(root / "other/README.md", "other\n")
    commit(root, "one repository")
    write(root / "other/README.md", "edited, not committed\n")
    assert update(project) == 0
    assert f"_commit: {head()}\n" in (project / ".copier-answers.yml").read_text()
    assert main(["update", str(project), "--back", "--yes"]) == 0
    assert contents(project) == contents(originals(OLD))
    assert (root / "other/README.md").read_text() == "edited, not committed\n"


def test_line_ends_of_windows_stay_out_of_the_way(project_of: Make, originals: Make) -> None:
    """As git leaves a working tree on Windows: each line ends with CR LF there, and with LF in what is committed."""
    project = project_of(OLD)
    sh(project, "git", "config", "core.autocrlf", "true")
    for name, text in contents(project).items():
        if b"\0" not in text and not (project / name).is_symlink():
            (project / name).write_bytes(text.replace(b"\n", b"\r\n"))
    sh(project, "git", "add", "--all")
    assert not sh(project, "git", "status", "--porcelain").stdout
    assert update(project) == 0


def test_recopy_with_overwrite_keeps_the_teams_files(project_of: Make) -> None:
    project = project_of(OLD)
    for name in ("src/my_crew/crew.py", "tests/unit/test_support.py", "README.md", "system-packages.txt", ".gitignore"):
        write(project / name, "ours\n")
    commit(project, "edited")
    copier.run_recopy(project, defaults=True, overwrite=True, quiet=True, unsafe=False)
    assert sorted(name for name, text in contents(project).items() if text == b"ours\n") == [
        ".gitignore", "README.md", "src/my_crew/crew.py", "system-packages.txt", "tests/unit/test_support.py",
    ]  # fmt: skip


def test_a_file_that_both_have_added_is_a_conflict(
    releases: Path, project_of: Make, tmp_path: Path, capsys: Said
) -> None:
    template = tmp_path / "template"
    subprocess.run(["git", "clone", "--quiet", str(releases), str(template)], check=True)
    write(template / "template/Makefile", "test:\n\tuv run pytest\n")
    release(template, "80.0.0")
    project = project_of(released()[-1])
    write(project / "Makefile", "all:\n\tmake it\n")
    commit(project, "edited")
    assert update(project, "--template", str(template)) == 1
    assert "Makefile: you and the new release have both changed it" in capsys.readouterr().out
    text = (project / "Makefile").read_text()
    assert "make it" in text
    assert "uv run pytest" in text
