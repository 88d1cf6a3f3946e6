"""Who may come in: the credential of a request, the user it stands for, and how often that user may ask."""

from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy import Connection
from starlette.concurrency import run_in_threadpool

from crewyard_runtime.api.problems import Refused
from crewyard_runtime.identity import Principal
from crewyard_runtime.settings import ServiceSettings
from crewyard_runtime.store import keys, rates
from crewyard_runtime.store.async_database import AsyncDatabase

ON_BEHALF_OF = "On-Behalf-Of"
MOST_SUBJECT = 255  # characters


class Admission:
    """Admits requests by API keys, or by tokens of an OIDC issuer, as the settings say."""

    def __init__(self, settings: ServiceSettings, database: AsyncDatabase) -> None:
        self._database = database
        self._per_minute = settings.requests_per_minute
        self._tokens = None
        if settings.auth == "oidc":
            # Needs a library that is only there if the project chose it.
            from crewyard_runtime.api.oidc import Tokens

            self._tokens = Tokens(settings)

    async def admit(self, request: Request) -> Principal:
        """Whoever asks. Raises Refused: 401, 403 and 422 for what the headers say, 429, and 503."""
        token, subject = _bearer(request), _subject(request)
        known = await run_in_threadpool(self._tokens.find, token) if self._tokens else None
        caller, wait = await self._database.statements(self._count, known, token, subject)
        if wait is not None:
            msg = f"There were more than {self._per_minute} requests in a minute: wait {wait:.1f} seconds."
            raise Refused(429, msg, after_seconds=wait)
        if subject is not None and not caller.may_act_for:
            msg = f"This credential may act for nobody else: leave the header {ON_BEHALF_OF} out."
            raise Refused(403, msg)
        return caller if subject is None else caller.acting_for(subject)

    def _count(
        self, tx: Connection, known: Principal | None, token: str, subject: str | None
    ) -> tuple[Principal, float | None]:
        """Whoever asks by the credential, and how long whoever they stand for has to wait."""
        caller = known if self._tokens else keys.find(tx, token)
        if caller is None:
            msg = "The credential is not valid: it is wrong, has expired or was revoked."
            raise Refused(401, msg, {"WWW-Authenticate": 'Bearer error="invalid_token"'})
        user = caller if subject is None or not caller.may_act_for else caller.acting_for(subject)
        return caller, rates.take(tx, user.user_id, self._per_minute)


async def _admitted(request: Request) -> Principal:
    admitted: Principal = request.state.principal
    return admitted


# Whoever `AdmittedRoute` has admitted.
Caller = Annotated[Principal, Depends(_admitted)]


def _bearer(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        msg = "There is no credential: send the header Authorization: Bearer ..."
        raise Refused(401, msg, {"WWW-Authenticate": "Bearer"})
    return token.strip()


def _subject(request: Request) -> str | None:
    given = request.headers.get(ON_BEHALF_OF)
    if given is None:
        return None
    try:
        subject = given.encode("latin-1").decode("utf-8")  # servers read headers as Latin-1, clients write UTF-8
    except UnicodeDecodeError:
        subject = ""
    if not 1 <= len(subject) <= MOST_SUBJECT:
        raise Refused(422, f"The header {ON_BEHALF_OF} is no name: send 1 to {MOST_SUBJECT} characters as UTF-8.")
    return subject
