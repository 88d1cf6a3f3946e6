"""One look at a project: its files are read, judged together and reported."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import yaml

from crewyard.doctor import borrowed, dockerfile, files, image, notes, policies, ruff, yamls
from crewyard.doctor.files import Tree, shown
from crewyard.doctor.findings import Finding, NotRead
from crewyard.doctor.project import Project
from crewyard.doctor.report import Report, counted
from crewyard.doctor.rules import RULES
from crewyard.doctor.rules.jobs import unseen_cost
from crewyard.doctor.source import Source


@dataclass
class _Look:
    """What was read of one PATH. members: the Python files of each project, by its directory."""

    tree: Tree
    members: dict[Path, list[tuple[Path, Source]]]
    projects: dict[Path, Project]

    @property
    def agentic(self) -> list[Path]:
        """The directories of the projects that import a framework."""
        return [place for place, project in self.projects.items() if project.agentic]


def check(paths: Iterable[Path]) -> Report:
    """Judge what is below these paths. Reads files, runs ruff and imports nothing."""
    report = Report()
    agentic = False
    for path in paths:
        look = _look(files.collect(path))
        _judge_all(look, _asked([look]), report)
        agentic |= bool(look.agentic)
    _finish(report, agentic=agentic)
    return report


def check_each(roots: Iterable[Path]) -> list[Report]:
    """A report of each project, without what crewyard manages in it; ruff is started once for all of them."""
    looks = [_look(files.collect(root, managed=False)) for root in roots]
    diagnostics = _asked(looks)
    reports = []
    for look in looks:
        report = Report()
        _judge_all(look, diagnostics, report)
        _finish(report, agentic=bool(look.agentic))
        reports.append(report)
    return reports


def is_empty(paths: Iterable[Path]) -> bool:
    """Whether there is nothing to judge: no Python file, Dockerfile or compose file."""
    trees = [files.collect(path) for path in paths]
    return not any(tree.python or tree.dockerfiles or tree.composes or tree.notebooks for tree in trees)


def _look(tree: Tree) -> _Look:
    """Parse the Python files and sort them into projects."""
    members: dict[Path, list[tuple[Path, Source]]] = defaultdict(list)
    for path in tree.python:
        if source := _parsed(tree, path):
            members[tree.owner(path)].append((path, source))
    preloaded = any("--preload" in (files.read(tree, path) or "") for path in [*tree.dockerfiles, *tree.composes])
    projects = {place: Project([source for _, source in its], preloaded=preloaded) for place, its in members.items()}
    return _Look(tree, members, projects)


def _asked(looks: Iterable[_Look]) -> dict[Path, list[ruff.Diagnostic]]:
    """What ruff finds, by file; it is started once."""
    asked = [(look, borrowed.worth_asking(look.members[place])) for look in looks for place in look.agentic]
    found: dict[Path, list[ruff.Diagnostic]] = defaultdict(list)
    try:
        for one in ruff.diagnostics(list(dict.fromkeys(path for _, paths in asked for path in paths))):
            found[one.path].append(one)
    except OSError as error:
        why = f"ruff did not start, so F08 and F12 are seen in part alone ({error})"
        for tree in (look.tree for look, paths in asked if paths):
            tree.not_read.append(NotRead(shown(tree.root, tree.root), 0, why))
    return found


def _judge_all(look: _Look, diagnostics: Mapping[Path, list[ruff.Diagnostic]], report: Report) -> None:
    tree = look.tree
    for place in look.agentic:
        _judge(look.projects[place], look.members[place], diagnostics, tree, report)
    report.findings += policies.findings(tree, [one for its in look.members.values() for one in its])
    _check_containers(tree, report)
    _check_data(tree, report, {place for place, project in look.projects.items() if project.service})
    if tree.notebooks:
        names = ", ".join(shown(one, tree.root) for one in tree.notebooks[:3])
        more = ", ..." if len(tree.notebooks) > 3 else ""
        report.remarks.append(f"{counted(len(tree.notebooks), 'notebook')} not read: {names}{more}")
    report.not_read += dict.fromkeys(tree.not_read)  # a file may be asked twice
    report.files += len(tree.python) + len(tree.dockerfiles) + len(tree.composes) + len(tree.data)


def _finish(report: Report, *, agentic: bool) -> None:
    if not agentic:
        report.remarks.append("no file that was read imports CrewAI or AutoGen: the rules about agents were left out")
    report.findings = sorted(set(report.findings))


def _parsed(tree: Tree, path: Path) -> Source | None:
    text = files.read(tree, path)
    if text is None:
        return None
    try:
        return Source(shown(path, tree.root), text)
    except SyntaxError as error:
        why, line = f"it is no Python ({error.msg})", error.lineno or 0
    except (ValueError, RecursionError, MemoryError) as error:
        why, line = str(error) or "it is nested too deeply", 0
    tree.not_read.append(NotRead(shown(path, tree.root), line, why))
    return None


def _judge(
    project: Project,
    members: list[tuple[Path, Source]],
    diagnostics: Mapping[Path, list[ruff.Diagnostic]],
    tree: Tree,
    report: Report,
) -> None:
    found: dict[str, list[Finding]] = defaultdict(list)
    for finding in unseen_cost(project):
        found[finding.path].append(finding)
    for finding in borrowed.findings(project, members, diagnostics):
        found[finding.path].append(finding)
    for _, source in members:
        for rule in RULES:
            try:
                found[source.path] += rule(source, project)
            except RecursionError:
                tree.not_read.append(NotRead(source.path, 0, "it is nested too deeply"))
                break
            except Exception as error:  # a mistake of one rule must not hide what the others see
                why = f"the rule {rule.__name__} failed here, please report it ({type(error).__name__}: {error})"
                tree.not_read.append(NotRead(source.path, 0, why))
    for _, source in members:
        _keep(report, source.path, found[source.path], notes.of_python(source.text))


def _keep(report: Report, path: str, findings: Iterable[Finding], its_notes: list[notes.Note]) -> None:
    left, accepted = notes.sort_out(path, _once(findings), its_notes)
    report.findings += left
    report.accepted += accepted


def _once(findings: Iterable[Finding]) -> list[Finding]:
    """One finding for each rule and line: an error before a hint."""
    best: dict[tuple[str, int], Finding] = {}
    for finding in sorted(findings, key=lambda one: (one.severity, one.column)):
        best.setdefault((finding.rule, finding.line), finding)
    return list(best.values())


def _check_containers(tree: Tree, report: Report) -> None:
    for path in tree.dockerfiles:
        if (text := files.read(tree, path)) is not None:
            parsed = dockerfile.parse(shown(path, tree.root), path, text)
            _keep(report, parsed.path, image.check(parsed, tree), notes.of_lines(text))
    for path in tree.composes:
        _check_yaml(tree, path, report, yamls.compose_file)


def _check_data(tree: Tree, report: Report, services: set[Path]) -> None:
    """Judge the data files. services: the directories of the projects that serve several users."""
    envs = set(files.env_files(tree))
    for path in tree.data:
        if path in envs and files.is_ignored(path, tree.root, ".gitignore"):
            continue
        if path.suffix in (".yaml", ".yml"):
            _check_yaml(tree, path, report, partial(yamls.crew_file, service=tree.owner(path) in services))
        elif (text := files.read(tree, path, files.LARGEST_DATA)) is not None:
            _keep(
                report,
                shown(path, tree.root),
                yamls.lines_with_keys(shown(path, tree.root), text, env=path in envs),
                notes.of_lines(text),
            )


def _check_yaml(
    tree: Tree, path: Path, report: Report, judge: Callable[[str, yaml.Node | None], Iterator[Finding]]
) -> None:
    text = files.read(tree, path, files.LARGEST_DATA)
    if text is None:
        return
    name = shown(path, tree.root)
    found = list(yamls.lines_with_keys(name, text))
    if judge is yamls.compose_file or "role:" in text or "expected_output:" in text:
        try:
            found += judge(name, yamls.parse(text))
        except (yaml.YAMLError, RecursionError, ValueError) as error:
            line = error.problem_mark.line + 1 if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark else 0
            tree.not_read.append(NotRead(name, line, "it is no YAML"))
    _keep(report, name, found, notes.of_lines(text))
