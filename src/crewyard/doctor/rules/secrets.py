"""F23: keys in the code, and keys in the logs."""

import ast
import re
from collections.abc import Iterator

from crewyard.doctor.findings import Finding
from crewyard.doctor.nodes import method, text
from crewyard.doctor.project import Project
from crewyard.doctor.source import Source

SHAPES = re.compile(
    r"\b(sk-(?:proj-|ant-api\d\d-|ant-|or-v1-|svcacct-)?[A-Za-z0-9_-]{20,}|gh[pousr]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{40,}|AKIA[0-9A-Z]{16}"
    r"|AIza[0-9A-Za-z_-]{35}|xox[bpars]-[0-9A-Za-z-]{20,}|gsk_[A-Za-z0-9]{30,}|hf_[A-Za-z0-9]{30,}|tvly-[A-Za-z0-9-]{20,}|nvapi-[A-Za-z0-9_-]{30,}"
    r"|pplx-[a-f0-9]{30,}|glpat-[A-Za-z0-9_-]{20,}|r8_[A-Za-z0-9]{30,}|lsv2_[a-z]{2}_[a-f0-9]{32}_[a-f0-9]{8,})"
)
SECRET = re.compile(
    r"(_KEY|_TOKEN|SECRET|PASSW(OR)?D)$|(?i:(api|secret|access|private|auth|subscription|account|encryption|signing)_?key"
    r"|(auth|access|api|bot|bearer|refresh|secret)_?token|(^|_)secret|passw(or)?d)$"
)
NOT_SECRET = re.compile(
    r"(max|num|total|prompt|completion|used|count|limit|per|stop|eos|bos|pad|sep|primary|public|foreign|sort|cache|dict|partition|page|next)_?(tokens?|key)?",
    re.IGNORECASE,
)
PLACEHOLDER = re.compile(
    r"your|xxx|\.\.\.|example|change[-_ ]?me|placeholder|dummy|fake|test|sample|insert|replace|<|>|\$\{|\{|\*\*\*|mock"
    r"|^na$|^none$|^null$|^empty$|ollama|lm-studio|not[-_ ]?needed|demo|todo|fixme|redacted|here|key[-_]?goes"
    r"|1234567|abcdef|secret|password|token|api[-_]?key|default|local|dev",
    re.IGNORECASE,
)
RANDOM = re.compile(r"[A-Za-z0-9+/=_.-]{16,}")
APP_PASSWORD = re.compile(r"[a-z]{4}( [a-z]{4}){3}")  # Google's
LOGS = frozenset({"print", "info", "debug", "warning", "error", "exception", "critical", "log", "write", "success"})
CONNECTS = frozenset({"connect", "create_pool", "Connection", "ConnectionPool", "MongoClient", "Redis", "StrictRedis"})


def in_code(source: Source, project: Project) -> Iterator[Finding]:
    """A literal key."""
    for node in source.of(ast.Constant):
        if isinstance(node.value, str) and isinstance(source.parents.get(node), ast.JoinedStr | ast.Expr):
            continue
        if isinstance(node.value, str) and (seen := key_in(node.value) or _of_a_name(source, node)):
            yield source.found(node, "F23", "error", f"a literal {seen}")


def key_in(value: str) -> str:
    """What known kind of key a text holds, as it may be printed; "" if none."""
    for found in SHAPES.finditer(value):
        key = found.group()
        if not PLACEHOLDER.search(key) and _is_random(key):
            return f"key ({key[:6]}...)"
    return ""


def _is_random(key: str) -> bool:
    return len(set(key)) >= 8 and sum(one.isdigit() for one in key) >= 2 and any(one.isalpha() for one in key)


def is_filled(name: str, value: str) -> bool:
    """Whether a variable's name says that it is a secret, and its value is one and no placeholder."""
    if not SECRET.search(name) or NOT_SECRET.match(name) or PLACEHOLDER.search(value):
        return False
    if APP_PASSWORD.fullmatch(value):
        return True
    return bool(RANDOM.fullmatch(value)) and any(
        _is_random(part) for part in re.split(r"[_.-]", value) if len(part) >= 12
    )


def _of_a_name(source: Source, node: ast.Constant) -> str:
    """The name of the secret that a long literal without a known shape is given to."""
    value = node.value
    assert isinstance(value, str)
    if len(value) < 16:
        return ""
    parent = source.parents.get(node)
    name = ""
    if isinstance(parent, ast.keyword):
        name = parent.arg or ""
    elif isinstance(parent, ast.Assign):
        target = parent.targets[0]
        name = text(target.slice) if isinstance(target, ast.Subscript) else source.name(target).rsplit(".", 1)[-1]
    elif isinstance(parent, ast.Dict) and node in parent.values:
        key = parent.keys[parent.values.index(node)]
        name = text(key)
    elif (
        isinstance(parent, ast.Call)
        and source.name(parent.func) in ("os.getenv", "os.environ.get", "os.environ.setdefault")
        and parent.args[1:2] == [node]
    ):
        name = text(parent.args[0])
    return f"value of {name}" if is_filled(name, value) else ""


def passwords(source: Source, project: Project) -> Iterator[Finding]:
    """A literal password of a database or a mail server."""
    for call in source.of(ast.Call):
        for item in call.keywords if method(call) in CONNECTS else ():
            if item.arg in ("password", "passwd") and text(item.value):
                yield source.found(item.value, "F23", "hint", f"a literal password in {method(call)}()")


def compared(source: Source, project: Project) -> Iterator[Finding]:
    """A token that is compared with a literal."""
    for node in source.of(ast.Compare):
        sides = [node.left, *node.comparators]
        literal = next((text(one) for one in sides if len(text(one)) >= 8), "")
        names = [source.name(one).rsplit(".", 1)[-1] for one in sides]
        both = any(one.isdigit() for one in literal) and any(one.isalpha() for one in literal)
        if both and " " not in literal and any(_is_secret(name) or name == "credentials" for name in names):
            yield source.found(node, "F23", "hint", "a token is compared with a literal")


def in_logs(source: Source, project: Project) -> Iterator[Finding]:
    """A secret that is printed or logged."""
    for call in source.of(ast.Call):
        if (
            method(call) not in LOGS
            or (isinstance(call.func, ast.Name) and call.func.id != "print")
            or not _is_log(call)
        ):
            continue
        for argument in [*call.args, *(item.value for item in call.keywords)]:
            if secret := _shown(source, argument):
                yield source.found(call, "F23", "error", f"{secret} is written to the log")
                break


def _is_log(call: ast.Call) -> bool:
    if isinstance(call.func, ast.Name):
        return True
    target = call.func.value if isinstance(call.func, ast.Attribute) else None
    name = target.attr if isinstance(target, ast.Attribute) else target.id if isinstance(target, ast.Name) else ""
    return "log" in name.lower() or name in ("st", "console")


def _shown(source: Source, node: ast.AST) -> str:
    """The name of the secret whose value this expression shows."""
    if isinstance(node, ast.JoinedStr):
        return next(
            (
                shown
                for part in node.values
                if isinstance(part, ast.FormattedValue) and (shown := _shown(source, part.value))
            ),
            "",
        )
    if isinstance(node, ast.Subscript):
        if source.name(node.value) == "os.environ":
            return text(node.slice) if _is_secret(text(node.slice)) else ""
        return ""  # a slice shows a part of it at most
    if isinstance(node, ast.Call):
        if source.name(node.func) in ("os.getenv", "os.environ.get") and node.args:
            return text(node.args[0]) if _is_secret(text(node.args[0])) else ""
        return _shown(source, node.args[0]) if source.name(node.func) in ("str", "repr") and node.args else ""
    if isinstance(node, ast.BinOp):
        return _shown(source, node.left) or _shown(source, node.right)
    name = source.name(node).rsplit(".", 1)[-1] if isinstance(node, ast.Name | ast.Attribute) else ""
    if not _is_secret(name) or (
        "." in source.name(node)
        and "settings" not in source.name(node)
        and "config" not in source.name(node)
        and "self" not in source.name(node)
    ):
        return ""
    values = source.values(node)
    looked_up = any(
        isinstance(value, ast.Call | ast.Subscript)
        and "environ" in ast.dump(value) + source.name(getattr(value, "func", None))
        for value in values
    )
    return name if not values or looked_up or any("getenv" in ast.dump(value) for value in values) else ""


def _is_secret(name: str) -> bool:
    return bool(
        re.search(
            r"(api_?key|access_?key|secret|passw(or)?d|(auth|access|api|bot|bearer|refresh)_?token|^token)$",
            name,
            re.IGNORECASE,
        )
    )


RULES = (in_code, passwords, compared, in_logs)
