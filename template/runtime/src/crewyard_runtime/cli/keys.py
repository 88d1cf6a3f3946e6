"""The commands `keys create`, `keys list` and `keys revoke`: who may call the gateway."""

import argparse
import sys
from typing import Any

from crewyard_runtime.cli.store import on_store
from crewyard_runtime.identity import make_user_id
from crewyard_runtime.settings import ServiceSettings
from crewyard_runtime.store import Database, audit, keys
from crewyard_runtime.terminal import moment, print_table

LONGEST_OWNER = 200


def add_commands(commands: Any) -> None:
    """Add `keys`."""
    group = commands.add_parser("keys", help="make, list and revoke API keys")
    actions = group.add_subparsers(required=True, metavar="action")
    create = actions.add_parser("create", help="make a key and print it: it cannot be shown again")
    create.add_argument("owner", type=_owner, help="whose key it is; all keys of one owner are one user")
    create.add_argument("--operator", action="store_true", help="may list, follow, retry and cancel everybody's runs")
    create.add_argument("--may-act-for", action="store_true", help="may name a user of its own in On-Behalf-Of")
    create.set_defaults(command=on_store(_create))
    listed = actions.add_parser("list", help="show every key, without what it takes to use it")
    listed.set_defaults(command=on_store(_list))
    revoke = actions.add_parser("revoke", help="end a key, at once and for ever")
    revoke.add_argument("key", metavar="prefix", help="the prefix that `keys list` shows, or the whole key")
    revoke.set_defaults(command=on_store(_revoke))


def _owner(text: str) -> str:
    if not (1 <= len(text) <= LONGEST_OWNER and text.isprintable() and text == text.strip()):
        msg = f"{text[:20]!a} is no owner: give 1 to {LONGEST_OWNER} printable characters, with no space around them"
        raise argparse.ArgumentTypeError(msg)
    return text


def _create(arguments: argparse.Namespace, database: Database, service: ServiceSettings) -> int:
    owner = arguments.owner
    with database.transaction() as tx:
        key = keys.create(tx, owner, arguments.operator, arguments.may_act_for)
        principal = keys.find(tx, key)
        assert principal is not None
        audit.record(tx, "cli", "key.created", principal.actor, principal.user_id)
    print(f"The key of {owner}; only its hash is kept, so it cannot be shown again:", file=sys.stderr, flush=True)
    print(key)
    return 0


def _list(arguments: argparse.Namespace, database: Database, service: ServiceSettings) -> int:
    with database.transaction() as tx:
        found = keys.all_of(tx)
    rows = [
        [
            key.prefix,
            key.owner,
            make_user_id("key", keys.ISSUER, key.owner),
            _rights(key),
            moment(key.created_at),
            moment(key.revoked_at),
        ]
        for key in found
    ]
    print_table(("prefix", "owner", "user", "rights", "created", "revoked"), rows)
    return 0


def _rights(key: Any) -> str:
    rights = {"operator": key.operator, "may act for others": key.may_act_for}
    return ", ".join(name for name, held in rights.items() if held)


def _revoke(arguments: argparse.Namespace, database: Database, service: ServiceSettings) -> int:
    prefix = _prefix(arguments.key)
    with database.transaction() as tx:
        revoked = prefix.isascii() and keys.revoke(tx, prefix)
        if revoked:
            audit.record(tx, "cli", "key.revoked", f"key:{prefix}")
    if not revoked:
        print(f"There is no valid key {prefix[:20]!a}: `keys list` shows the prefixes of all.", file=sys.stderr)
        return 1
    print(f"the key {prefix} is revoked")
    return 0


def _prefix(key: str) -> str:
    """The part of a key that may be shown and noted, of a whole one too."""
    return key.removeprefix(f"{keys.START}_").partition("_")[0]
