"""The commands `memory export`, `memory erase` and `memory reindex`: what is remembered about users."""

import argparse
import json
import sys
from collections.abc import Callable
from contextlib import closing
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from crewyard_runtime.cli.check import refuse
from crewyard_runtime.cli.database import Opened, open_database
from crewyard_runtime.errors import NotReady, error_line
from crewyard_runtime.jobs.memory_tokens import MemoryTokens
from crewyard_runtime.memory.backends import NotPossible, load_backend
from crewyard_runtime.memory.embeddings import HttpEmbedder
from crewyard_runtime.memory.opening import open_store
from crewyard_runtime.memory.records import MemoryStore, safe_user_id
from crewyard_runtime.startup import examine_database
from crewyard_runtime.store import audit, runs

EVERYTHING = 10_000_000
EMBEDDING_SECONDS = 60

OnMemory = Callable[[argparse.Namespace, Opened], int]


def add_commands(commands: Any) -> None:
    """Add `memory`."""
    group = commands.add_parser("memory", help="export, erase and reindex what is remembered about users")
    actions = group.add_subparsers(required=True, metavar="action")
    export = actions.add_parser("export", help="print all that is remembered about a user, one JSON object a line")
    erase = actions.add_parser("erase", help="delete all that is remembered about a user, and say how much it was")
    for action in (export, erase):
        action.add_argument(
            "--user", type=_user, required=True, help="the user, as `keys list` and `runs list` show it"
        )
    export.set_defaults(command=_on_memory(_export))
    erase.set_defaults(command=_on_memory(_erase))
    reindex = actions.add_parser("reindex", help="embed everything anew, after another model or number of dimensions")
    reindex.set_defaults(command=_on_memory(_reindex))


def _user(text: str) -> str:
    try:
        return safe_user_id(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _on_memory(command: OnMemory) -> Callable[[argparse.Namespace], int]:
    """The command as the parser calls it: with the database open, or refused with what is missing."""

    def run(arguments: argparse.Namespace) -> int:
        startup = examine_database(memory=True)
        if startup.problems or startup.service is None or startup.settings is None:
            return refuse(startup)
        if startup.settings.memory == "none":
            msg = "this project remembers nothing: its memory is `none`"
            raise NotReady(msg)
        with open_database(startup.service, startup.settings) as opened:
            try:
                return command(arguments, opened)
            except (NotReady, SQLAlchemyError):
                raise
            except NotPossible as error:
                raise NotReady(str(error)) from error
            except Exception as error:  # of a back end's library
                msg = f"the memory failed: {error_line(error)}"
                raise NotReady(msg) from error

    return run


def _store(opened: Opened, user_id: str) -> MemoryStore:
    token = MemoryTokens(opened.database, opened.settings).sign(user_id)
    if opened.settings.memory == "pgvector" and token is None:
        msg = "the memory is not opened; why is above"
        raise NotReady(msg)
    return open_store(opened.settings, user_id, token)


def _export(arguments: argparse.Namespace, opened: Opened) -> int:
    with closing(_store(opened, arguments.user)) as store:
        for record in store.list(EVERYTHING):
            if record.user_id == arguments.user:
                kept = record.remembered
                at = kept.at.isoformat() if kept.at else None
                print(json.dumps({"id": kept.id, "text": kept.text, "at": at}, ensure_ascii=False))
    return 0


def _erase(arguments: argparse.Namespace, opened: Opened) -> int:
    with closing(_store(opened, arguments.user)) as store:
        erased = store.erase()
    said = ", ".join(f"{number} {what}" for what, number in erased.items())
    with opened.database.transaction() as tx:
        audit.record(tx, "cli", "memory.erased", said, arguments.user)
        kept, going_on = runs.count_of_user(tx, arguments.user)
    print(f"erased of {arguments.user}: {said}")
    if going_on:
        print(
            f"{going_on} runs of this user have not ended and may remember more: erase again afterwards",
            file=sys.stderr,
        )
    if kept:
        print(
            f"{kept} runs of this user, with their inputs and outputs, are kept until `prune` deletes them",
            file=sys.stderr,
        )
    return 0


def _reindex(arguments: argparse.Namespace, opened: Opened) -> int:
    embedder = HttpEmbedder(opened.settings, EMBEDDING_SECONDS)
    count = load_backend(opened.settings).reindex(opened.settings, opened.database.engine, embedder)
    print(f"{count} memories were embedded by {opened.settings.embedding_model}")
    return 0
