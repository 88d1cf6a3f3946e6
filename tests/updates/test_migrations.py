"""Migrations: planned, then applied; idempotent; run by an update that was given trust, and by no other."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import commit
from plan import Plan
from updates.conftest import Make
from updates.looked_at import contents
from updates.releases import released

from crewyard.__main__ import main

# Two years from now, three releases that each need one; the last goes on from what the first has made.
MIGRATIONS = {
    "90.0.0": "plan.move('system-packages.txt', 'packages/system.txt')",
    "91.0.0": "text = plan.read('platform.toml')\nif '# 91' not in text: plan.write('platform.toml', text + '# 91\\n')",
    "92.0.0": "plan.move('packages/system.txt', 'packages/debian.txt')",
}
SCRIPT = "from plan import Plan\n\nplan = Plan()\n{}\nplan.apply()\n"


@pytest.fixture
def template(releases: Path, tmp_path: Path) -> Path:
    """All releases, and three more, each with a migration."""
    place = tmp_path / "template"
    subprocess.run(["git", "clone", "--quiet", str(releases), str(place)], check=True)
    listed = "_migrations:\n"
    questions = (place / "copier.yml").read_text()
    for version, code in MIGRATIONS.items():
        script = f"to_{version.replace('.', '_')}.py"
        (place / "hooks" / script).write_text(SCRIPT.format(code))
        command = f'["{{{{ _copier_python }}}}", "{{{{ _copier_conf.src_path }}}}/hooks/{script}"]'
        listed += f"  - version: {version}\n    command: {command}\n"
        (place / "copier.yml").write_text(f"{questions}\n{listed}")
        commit(place, version, tag=version)
    return place


@pytest.fixture
def project(project_of: Make) -> Path:
    """Of the newest release, with packages of the team's own."""
    place = project_of(released()[-1])
    (place / "system-packages.txt").write_text("poppler-utils\n")
    commit(place, "edited")
    return place


def update(project: Path, template: Path, *more: str) -> int:
    return main(["update", str(project), "--yes", "--no-lock", "--template", str(template), *more])


def test_without_trust_nothing_runs(project: Path, template: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(project)
    assert update(project, template) == 2
    said = capsys.readouterr()
    assert "to_91_0_0.py" in said.out
    assert "--trust" in said.err
    assert contents(project) == before


def test_three_are_crossed_in_their_order(project: Path, template: Path) -> None:
    assert update(project, template, "--trust") == 0
    assert (project / "packages/debian.txt").read_text() == "poppler-utils\n"
    assert (project / "platform.toml").read_text().endswith("# 91\n")
    assert not list(project.glob(".migration-*"))


def test_an_update_across_none_needs_no_trust(project_of: Make, template: Path) -> None:
    place = project_of(released()[-1])
    assert update(place, template, "--trust") == 0
    commit(place, "updated")
    (template / "template/added.txt").write_text("added\n")
    commit(template, "93.0.0", tag="93.0.0")
    assert update(place, template) == 0
    assert (place / "added.txt").exists()


def test_each_can_run_twice(project: Path, template: Path) -> None:
    seen = []
    for _ in range(2):
        for script in sorted((template / "hooks").glob("to_*.py")):
            subprocess.run([sys.executable, script], cwd=project, check=True)
        seen.append(contents(project))
    assert seen[0] == seen[1]


def test_a_failing_one_can_be_gone_back_from(project: Path, template: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(project)
    (template / "hooks/to_91_0_0.py").write_text("raise SystemExit('no such line')\n")
    commit(template, "94.0.0", tag="94.0.0")
    assert update(project, template, "--trust", "--on-failure", "back") == 1
    assert "to_91_0_0.py" in capsys.readouterr().out
    assert contents(project) == before


class TestPlan:
    """What the migrations are made of."""

    def test_a_full_disk_changes_nothing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "a").write_text("before")
        plan = Plan(tmp_path)
        plan.write("a", "after")
        plan.write("b", "after")
        write = Path.write_bytes

        def until_it_is_full(self: Path, content: bytes) -> int:
            if self.name == "1":
                raise OSError(errno.ENOSPC, "No space left on device")
            return write(self, content)

        monkeypatch.setattr(Path, "write_bytes", until_it_is_full)
        with pytest.raises(OSError, match="No space left"):
            plan.apply()
        assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "before"}

    def test_what_the_team_has_there_stays(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_text("a")
        (tmp_path / "b").write_text("b")
        plan = Plan(tmp_path)
        plan.move("a", "b")
        plan.apply()
        assert ((tmp_path / "a").read_text(), (tmp_path / "b").read_text()) == ("a", "b")

    def test_line_ends_and_modes_stay(self, tmp_path: Path) -> None:
        (tmp_path / "run").write_bytes(b"one\r\ntwo\r\n")
        (tmp_path / "run").chmod(0o755)
        plan = Plan(tmp_path)
        plan.write("run", (plan.read("run") or "").replace("one", "1"))
        plan.apply()
        assert (tmp_path / "run").read_bytes() == b"1\r\ntwo\r\n"
        assert (tmp_path / "run").stat().st_mode & 0o777 == 0o755

    @pytest.mark.parametrize("path", ["../out", "/etc/passwd", "link/out"])
    def test_nothing_outside_is_touched(self, tmp_path: Path, path: str) -> None:
        (tmp_path / "project").mkdir()
        (tmp_path / "project/link").symlink_to(tmp_path)
        with pytest.raises(ValueError, match="is not below"):
            Plan(tmp_path / "project").write(path, "x")
