"""Who asks: a principal, made from a credential alone, and the one safe form of a user id."""

import hashlib
import json
from dataclasses import dataclass
from typing import Literal

Kind = Literal["key", "oidc", "for"]
USER_ID = r"^[A-Za-z0-9_.:@-]{1,128}$"  # the alphabet that every store takes literally


def make_user_id(kind: Kind, issuer: str, subject: str) -> str:
    """A user id: the kind and 32 hexadecimal digits of SHA-256 over issuer and subject.

    Whatever a subject contains (`*`, `|`, a quote), the id is of the alphabet that every store takes literally; and as
    the two are hashed as a JSON list, no other pair of issuer and subject gives the same id.
    """
    digest = hashlib.sha256(json.dumps([issuer, subject]).encode()).hexdigest()
    return f"{kind}_{digest[:32]}"


@dataclass(frozen=True)
class Principal:
    """Whoever a credential stands for.

    user_id: whose runs these are. actor: the credential itself, for the audit. operator: may see and change all runs.
    may_act_for: may name another user; see `acting_for`.
    """

    user_id: str
    actor: str
    operator: bool = False
    may_act_for: bool = False

    def acting_for(self, subject: str) -> "Principal":
        """The principal for one of this one's own users; two owners' users of the same name are two users."""
        return Principal(make_user_id("for", self.user_id, subject), self.actor)
