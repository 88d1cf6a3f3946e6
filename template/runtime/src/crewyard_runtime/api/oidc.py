"""Tokens of an OIDC issuer: whose they are, if they are valid. Keys are fetched when they are needed, and kept."""

import http.client
import json
import logging
import threading
import time
import urllib.request
from typing import Any

import jwt

from crewyard_runtime.api.problems import Refused
from crewyard_runtime.identity import Principal, make_user_id
from crewyard_runtime.settings import ServiceSettings

FETCH_SECONDS = 3.0
FRESH_SECONDS = 300.0  # after which the keys are fetched again, so that one that was withdrawn is not taken for long
CALM_SECONDS = 10.0  # at least, between two fetches: tokens with made-up keys must not become requests to the issuer
PAUSE_SECONDS = 1.0  # after a fetch that failed
MOST_BYTES = 1_000_000

log = logging.getLogger("crewyard.api")


class Tokens:
    """Finds the principal of a token. Safe to use from several threads."""

    def __init__(self, settings: ServiceSettings) -> None:
        if settings.oidc_issuer is None or settings.oidc_audience is None:
            msg = 'auth is "oidc", and OIDC_ISSUER or OIDC_AUDIENCE is not set: set both.'
            raise ValueError(msg)
        self._issuer = settings.oidc_issuer
        self._audience = settings.oidc_audience
        self._algorithms = [str(name) for name in settings.oidc_algorithms]
        self._keys = _Keys(self._issuer)

    def find(self, token: str) -> Principal | None:
        """Whoever the token stands for; None for one that is not valid. Raises Refused (503) if there are no keys."""
        try:
            header = jwt.get_unverified_header(token)
            # Before a key is looked for: what cannot be valid must cost the issuer nothing.
            key = self._keys.find(header.get("kid")) if header.get("alg") in self._algorithms else None
            if key is None:
                return None
            claims = jwt.decode(
                token,
                key.key,
                self._algorithms,
                # A clock of the issuer that is a little ahead does no harm: `exp` bounds how long the token lives.
                {"require": ["exp", "iat", "iss", "aud", "sub"], "verify_iat": False},
                audience=self._audience,
                issuer=self._issuer,
            )
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError):
            return None
        user_id = make_user_id("oidc", self._issuer, claims["sub"])
        return Principal(user_id, actor=user_id)


class _Keys:
    def __init__(self, issuer: str) -> None:
        self._issuer = issuer
        self._lock = threading.Lock()
        self._place: str | None = None
        self._keys: dict[str | None, jwt.PyJWK] = {}
        self._old_at = self._due_at = time.monotonic()

    def find(self, name: str | None) -> jwt.PyJWK | None:
        """The key of this name, or the only one for no name; None if there is none. Raises Refused (503)."""
        key = self._key(name)
        # With an old key nobody waits for the new ones.
        if (key is None or time.monotonic() >= self._old_at) and self._lock.acquire(blocking=key is None):
            try:
                self._fetch_if_due()
            finally:
                self._lock.release()
            key = self._key(name)
        if not self._keys:
            msg = "The issuer of the tokens does not answer, so no token can be checked: try again soon."
            raise Refused(503, msg, after_seconds=PAUSE_SECONDS)
        return key

    def _key(self, name: str | None) -> jwt.PyJWK | None:
        keys = self._keys
        return next(iter(keys.values())) if name is None and len(keys) == 1 else keys.get(name)

    def _fetch_if_due(self) -> None:
        if time.monotonic() < self._due_at:
            return
        try:
            self._keys = self._fetch()
            self._old_at = time.monotonic() + FRESH_SECONDS
            pause = CALM_SECONDS
        except (OSError, http.client.HTTPException, ValueError, jwt.PyJWTError) as error:
            log.warning("no keys from the issuer %s: %s: %s", self._issuer, type(error).__name__, error)
            self._place = None
            pause = CALM_SECONDS if self._keys else PAUSE_SECONDS
        self._due_at = time.monotonic() + pause

    def _fetch(self) -> dict[str | None, jwt.PyJWK]:
        if self._place is None:
            found = _get(f"{self._issuer.rstrip('/')}/.well-known/openid-configuration")
            if found.get("issuer") != self._issuer:
                msg = f"it calls itself {found.get('issuer')!r}: set OIDC_ISSUER to that, if it is right"
                raise ValueError(msg)
            self._place = str(found.get("jwks_uri"))
        keys = jwt.PyJWKSet.from_dict(_get(self._place)).keys
        return {key.key_id: key for key in keys if key.public_key_use in ("sig", None)}


def _get(url: str) -> dict[str, Any]:
    if not url.startswith(("https://", "http://")):
        msg = f"{url!r} is no address of a web server"
        raise ValueError(msg)
    with urllib.request.urlopen(url, timeout=FETCH_SECONDS) as response:
        found = json.loads(response.read(MOST_BYTES))
    if not isinstance(found, dict):
        msg = f"{url} gives no JSON object"
        raise ValueError(msg)
    return found
