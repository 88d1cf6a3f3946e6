"""API keys: 256 random bits, of which a hash is kept; the key's prefix finds it, and an owner may have several."""

import hashlib
import hmac
import secrets
from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, insert, select, update

from crewyard_runtime.identity import Principal, make_user_id
from crewyard_runtime.store.schema import api_keys

START = "cy"
ISSUER = "api-key"


_FIND = select(api_keys).where(api_keys.c.prefix == bindparam("prefix"), api_keys.c.revoked_at.is_(None))


def create(tx: Connection, owner: str, operator: bool = False, may_act_for: bool = False) -> str:
    """Make a key for `owner` and return it: it cannot be shown again. Keys of one owner are one user."""
    prefix, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    tx.execute(
        insert(api_keys).values(
            prefix=prefix, hash=_hash(secret), owner=owner, operator=operator, may_act_for=may_act_for
        )
    )
    return f"{START}_{prefix}_{secret}"


def find(tx: Connection, key: str) -> Principal | None:
    """Whoever the key belongs to; None for a key that is wrong or was revoked."""
    start, _, rest = key.partition("_")
    prefix, _, secret = rest.partition("_")
    if start != START:
        return None
    row = tx.execute(_FIND, {"prefix": prefix}).one_or_none()
    if row is None or not hmac.compare_digest(row.hash, _hash(secret)):
        return None
    return Principal(make_user_id("key", ISSUER, row.owner), f"key:{prefix}", row.operator, row.may_act_for)


def revoke(tx: Connection, prefix: str) -> bool:
    """End a key, by its prefix or by the key itself. False if there is none, or none any more."""
    prefix = prefix.removeprefix(f"{START}_").partition("_")[0]
    wanted = update(api_keys).where(api_keys.c.prefix == prefix, api_keys.c.revoked_at.is_(None))
    return tx.execute(wanted.values(revoked_at=func.now())).rowcount == 1


def all_of(tx: Connection) -> list[Row[Any]]:
    """Every key, the oldest first, without what it takes to use it."""
    shown = [column for column in api_keys.c if column.name != "hash"]
    return list(tx.execute(select(*shown).order_by(api_keys.c.created_at)))


def _hash(secret: str) -> str:
    # No salt and no slow hash: nobody guesses 256 random bits.
    return hashlib.sha256(secret.encode()).hexdigest()
