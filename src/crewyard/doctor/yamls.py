"""Findings in YAML: compose files, and the agents and tasks of a crew."""

import re
from collections.abc import Iterator

import yaml

from crewyard.doctor.findings import Finding, Severity
from crewyard.doctor.rules.limits import LARGEST
from crewyard.doctor.rules.secrets import is_filled, key_in

STORES = re.compile(r"(^|/)(postgres|pgvector|qdrant|chroma|weaviate|mongo|mysql|mariadb|milvus|neo4j)\b")
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def parse(text: str) -> yaml.Node | None:
    """The tree of a YAML file's first document. Raises yaml.YAMLError."""
    return next(iter(yaml.compose_all(text, Loader=LOADER)), None)


def _items(node: yaml.Node | None) -> list[tuple[str, yaml.Node, yaml.Node]]:
    """The keys, with their nodes, and values of a mapping."""
    if not isinstance(node, yaml.MappingNode):
        return []
    return [(key.value, key, value) for key, value in node.value if isinstance(key, yaml.ScalarNode)]


def _get(node: yaml.Node | None, name: str) -> yaml.Node | None:
    return next((value for key, _, value in _items(node) if key == name), None)


def _scalar(node: yaml.Node | None) -> str:
    return node.value if isinstance(node, yaml.ScalarNode) else ""


def _found(path: str, node: yaml.Node, rule: str, severity: Severity, seen: str, edit: str = "") -> Finding:
    line = node.start_mark.line + 1
    return Finding(path, line, node.start_mark.column + 1, rule, severity, seen, edit, line, line)


def compose_file(path: str, root: yaml.Node | None) -> Iterator[Finding]:
    """Every finding of a compose file."""
    built = {_scalar(_get(each, "image")) for each in _mappings(root) if _get(each, "build")}
    for name, key, service in _items(_get(root, "services")):
        yield from _environment(path, service)
        yield from _image(path, name, key, service, built)
        user = _get(service, "user")
        if user and _scalar(user).split(":")[0] in ("root", "0"):
            yield _found(path, user, "F20", "error", f"the service {name} runs as root", "leave `user` to the image")
        volumes = _get(service, "volumes")
        for volume in volumes.value if isinstance(volumes, yaml.SequenceNode) else ():
            if "docker.sock" in _scalar(volume):
                seen = f"{name} may command the host's Docker, and by that be root there"
                yield _found(path, volume, "F21", "hint", seen, "use a sandbox service, or a Docker of its own")


def _mappings(root: yaml.Node | None) -> Iterator[yaml.Node]:
    """What is at the top, fragments to merge for example, and each service."""
    for _, _, value in _items(root):
        yield value
        yield from (below for _, _, below in _items(value))


def _image(path: str, name: str, key: yaml.Node, service: yaml.Node, built: set[str]) -> Iterator[Finding]:
    """An image without a version, and a store without a volume. built: the images that the file itself builds."""
    image = _get(service, "image")
    if image is None:
        return
    label = _scalar(image)
    pinned = "@" in label or "$" in label or label.rsplit("/", 1)[-1].partition(":")[2] not in ("", "latest")
    if not pinned and label not in built:
        seen = f"the image {label} is whatever is newest when it is pulled"
        yield _found(path, image, "F20", "hint", seen, "name a version")
    if STORES.search(label) and _get(service, "volumes") is None:
        seen = f"the store {name} has no volume: its data go with the container"
        yield _found(path, key, "F15", "hint", seen, "give it a named volume")


def _environment(path: str, service: yaml.Node) -> Iterator[Finding]:
    environment = _get(service, "environment")
    given = [(name, _scalar(value), value) for name, _, value in _items(environment)]
    if isinstance(environment, yaml.SequenceNode):
        pairs = [(_scalar(one).partition("="), one) for one in environment.value]
        given = [(name, value, one) for (name, _, value), one in pairs]
    for name, value, node in given:
        if not key_in(value) and is_filled(name, value):
            edit = "write ${" + name + "}, and keep the value out of the repository"
            yield _found(path, node, "F23", "error", f"a literal value of {name}", edit)


def crew_file(path: str, root: yaml.Node | None, *, service: bool = True) -> Iterator[Finding]:
    """Every finding of a config/agents.yaml or config/tasks.yaml. service: whether several users may start the crew."""
    entries = [(name, entry) for name, _, entry in _items(root) if isinstance(entry, yaml.MappingNode)]
    agents = [entry for _, entry in entries if _get(entry, "role") and _get(entry, "goal")]
    tasks = [entry for _, entry in entries if _get(entry, "expected_output")]
    delegating = [
        value for agent in agents if _scalar(value := _get(agent, "allow_delegation")).lower() == "true" and value
    ]
    for value in delegating if len(delegating) > 1 else ():
        yield _found(path, value, "F16", "error", f"one of {len(delegating)} agents that may delegate to each other")
    for agent in agents:
        yield from _agent(path, agent)
    for task in tasks:
        file = _get(task, "output_file")
        if file and _scalar(file) and "{" not in _scalar(file) and _scalar(file) not in ("null", "~"):
            severity: Severity = "error" if service else "hint"
            yield _found(path, file, "F05", severity, f"the task writes the fixed path {_scalar(file)!r}")


def _agent(path: str, agent: yaml.Node) -> Iterator[Finding]:
    for name, _, value in _items(agent):
        given = _scalar(value)
        if name in LARGEST and given.isdecimal() and int(given) > LARGEST[name]:
            yield _found(path, value, "F08", "error", f"the agent may go on for {name}={given}")
        if name == "respect_context_window" and given.lower() == "false":
            yield _found(
                path, value, "F11", "error", "respect_context_window: false ends the run when the context is full"
            )
        if name == "code_execution_mode" and given == "unsafe":
            yield _found(path, value, "F21", "error", "code_execution_mode: unsafe runs generated code on this machine")


def lines_with_keys(path: str, text: str, env: bool = False) -> Iterator[Finding]:
    """The lines of a data file that hold a key. env: a .env file, whose names say what is secret."""
    for number, line in enumerate(text.splitlines(), 1):
        found = key_in(line)
        name, _, value = line.partition("=")
        if not found and env and not line.startswith("#") and is_filled(name.strip(), value.strip().strip("\"'")):
            found = f"value of {name.strip()}"
        if found:
            yield Finding(path, number, 1, "F23", "error", f"a literal {found}", "", number, number)
