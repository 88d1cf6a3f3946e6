"""The command `demo`: what a project does, with no key, no network and no server of the user's."""

import argparse
import logging
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from crewyard_runtime import embedded
from crewyard_runtime.cli.check import refuse
from crewyard_runtime.errors import NotReady
from crewyard_runtime.startup import examine

EX_USAGE = 2
WORKERS = 2
REMOVE_SECONDS = 5
# A short lease, so that a run whose worker died is soon another's.
SETTINGS = {
    "auth": "api-keys",
    "broker": "redis",
    "broker_url": None,
    "database_url": None,
    "grace_seconds": 1,
    "lease_seconds": 2,
    "mem0_api_key": None,
    "memory_database_url": None,
    "memory_dir": None,
    "qdrant_url": None,
    "requests_per_minute": 1_000_000,
}


def add_commands(commands: Any) -> None:
    """Add `demo`."""
    demo = commands.add_parser("demo", help="run the examples through a whole service: no key, no network")
    demo.add_argument("input", nargs="?", help="a file of JSON lines, one JSON object, or - for standard input")
    demo.add_argument("--application", metavar="NAME", help="which application, where a project declares several")
    demo.set_defaults(command=_demo)


def _demo(arguments: argparse.Namespace) -> int:
    from httpx import HTTPError

    from crewyard_runtime.application import NoApplication, find_application
    from crewyard_runtime.batch import NoInput, read_lines
    from crewyard_runtime.demo import Demo, examples
    from crewyard_runtime.stack import model_server_settings, serve
    from crewyard_runtime.testing.model_server import ModelServer
    from crewyard_runtime.testing.schema import UnsupportedSchema

    if not embedded.available():
        msg = "the demo needs the servers of the `dev` group, which an image for production lacks: run it in a project"
        raise NotReady(msg)
    logging.getLogger("crewyard").setLevel(logging.WARNING)
    os.environ["SECRETS"] = "environment"  # of this process and its children: no key is needed, no manager asked
    with _directory() as place, ModelServer() as server:
        # What a killed worker leaves behind is left here.
        places = {"writable_dir": place / "writable", "tmpdir": place}
        overrides = {**SETTINGS, **model_server_settings(server.url), **places}
        startup = examine(overrides, servers=False)
        if startup.problems or startup.service is None or startup.settings is None:
            return refuse(startup)
        try:
            application = find_application(arguments.application)
            lines = examples(application) if arguments.input is None else read_lines(arguments.input)
        except (NoApplication, NoInput, UnsupportedSchema, OSError) as error:
            print(error, file=sys.stderr)
            return EX_USAGE
        _say(f"starting Postgres, Valkey, a model server, the gateway and {WORKERS} workers ...")
        try:
            chosen = (startup.service, startup.settings)
            with serve(*chosen, place, overrides, port=embedded.free_port(), workers=WORKERS) as stack:
                demo = Demo(stack, server, application, _say)
                succeeded = demo.run(lines)
        except HTTPError as error:
            msg = f"the gateway gave no proper answer: {error}"
            raise NotReady(msg) from error
        demo.show()
    return 0 if succeeded else 1


@contextmanager
def _directory() -> Iterator[Path]:
    """A directory for this demo alone. Its path is short, because sockets are in it."""
    place = Path(tempfile.mkdtemp(prefix="cy-"))
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)
        deadline = time.monotonic() + REMOVE_SECONDS
        # A server that was interrupted while it started may have written its last files meanwhile.
        while place.exists() and time.monotonic() < deadline:
            time.sleep(0.1)
            shutil.rmtree(place, ignore_errors=True)


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)
