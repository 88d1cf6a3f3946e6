"""The development service as its user meets it: a key, and lines to paste into a shell."""

import shlex
from collections.abc import Iterator
from pathlib import Path

from crewyard_runtime.application import Application
from crewyard_runtime.stack import Stack
from crewyard_runtime.store import Database, audit, keys
from crewyard_runtime.terminal import command_name
from crewyard_runtime.testing.inputs import example_inputs
from crewyard_runtime.testing.schema import UnsupportedSchema

OWNER = "dev"


def make_key(database: Database, path: Path) -> str:
    """The key in the file, while it is valid; otherwise a new one, put there for its owner's eyes only."""
    kept = path.read_text("utf-8").strip() if path.is_file() else ""
    with database.transaction() as tx:
        if kept and keys.find(tx, kept) is not None:
            return kept
        key = keys.create(tx, OWNER)
        principal = keys.find(tx, key)
        assert principal is not None
        audit.record(tx, "cli", "key.created", principal.actor, principal.user_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)  # the mode is for new files only
    path.touch(mode=0o600)
    path.write_text(f"{key}\n", "utf-8")
    return key


def first_steps(stack: Stack, key: str, applications: dict[str, Application]) -> Iterator[str]:
    """Lines that tell how to have a run done and how to follow it."""
    authorization = f"-H {shlex.quote(f'Authorization: Bearer {key}')}"
    yield f"The service is ready at {stack.url}. Have a run done:"
    for name, application in applications.items():
        try:
            example = shlex.quote(example_inputs(application, 1)[0])
        except (UnsupportedSchema, OSError) as error:
            yield f"  (there is no example of {name}, so give it a file of examples: {error})"
            continue
        yield f"  curl -sS {stack.url}/runs/{name} {authorization} -H 'Content-Type: application/json' -d {example}"
    yield "Follow it, with the id from the answer in place of ID:"
    yield f"  curl -sSN {stack.url}/runs/ID/events {authorization}"
    yield f"  uv run {command_name()} runs follow ID"
