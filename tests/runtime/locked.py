"""A database with the memory's tables behind their lock, as `migrate` makes it for a role that is no superuser."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from crewyard_runtime.memory import access
from crewyard_runtime.store import Database
from crewyard_runtime.testing.servers import Postgres
from crewyard_runtime.testing.service import new_database
from sqlalchemy import make_url, text


class Locked:
    """One database, its owner, and the role of the memory. dimensions: of the embeddings."""

    def __init__(self, postgres: Postgres, empty_database: str, dimensions: int) -> None:
        self.dimensions = dimensions
        admin = new_database(postgres.url, empty_database)
        suffix = uuid.uuid4().hex[:8]
        self.role, self.owner = f"memory_{suffix}", f"owner_{suffix}"
        self.admin = Database(admin)
        with self.admin.transaction() as tx:
            tx.execute(text("CREATE EXTENSION vector"))
            tx.execute(text(f"CREATE ROLE {self.owner} LOGIN CREATEROLE PASSWORD 'owner'"))
            tx.execute(text(f"GRANT CREATE ON SCHEMA public TO {self.owner}"))
        self.admin_url = admin
        self.url = self._url(self.role, "it's-a:secret")
        self.key = self.migrate()

    def migrate(self) -> access.TokenKey:
        """What the command does, as the owner; then the key that workers read."""
        owner = Database(self._url(self.owner, "owner"))
        with owner.transaction() as tx:
            access.migrate_memory(tx, self.role, "it's-a:secret", self.dimensions)
            key = access.token_key(tx)
        owner.close()
        return key

    def _url(self, user: str, password: str) -> str:
        url = make_url(self.admin_url).set(username=user, password=password)
        return url.render_as_string(hide_password=False)

    @contextmanager
    def connect(self, token: str | None) -> Iterator[psycopg.Connection]:
        """A connection of the memory's role, as a run has it."""
        options = None if token is None else f"-c {access.TOKEN_SETTING}={token}"
        with psycopg.connect(self.url, autocommit=True, options=options) as connection:
            yield connection

    def doors(self, dimensions: int | None = None) -> list[str]:
        """What the check finds."""
        database = Database(self.url)
        with database.transaction() as tx:
            found = access.open_doors(tx, dimensions or self.dimensions)
        database.close()
        return found
