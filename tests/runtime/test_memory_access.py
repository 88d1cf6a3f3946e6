"""The second lock of the memory: what a run's own SQL, under the role of the memory, can see and change."""

import time
import uuid
from collections.abc import Iterator

import psycopg
import pytest
from crewyard_runtime.memory import access
from crewyard_runtime.testing.servers import Postgres
from psycopg.errors import InsufficientPrivilege
from runtime.locked import Locked
from sqlalchemy import text

OTHERS_ID = uuid.uuid4()
INSERT = (
    "INSERT INTO {} (id, vector, payload) VALUES (%s, '[1,0,0]', jsonb_build_object('user_id', %s::text, 'data', 'x'))"
)


@pytest.fixture
def locked(postgres: Postgres, empty_database: str) -> Iterator[Locked]:
    """The memory's tables behind their lock; alice and bob remember something."""
    made = Locked(postgres, empty_database, dimensions=3)
    for user, row in (("alice", uuid.uuid4()), ("bob", OTHERS_ID)):
        with made.connect(made.key.sign(user, 60)) as connection:
            for table in access.TABLES:
                connection.execute(INSERT.format(table), (row, user))
    yield made
    made.admin.close()


def users(connection: psycopg.Connection, table: str = "memories") -> list[str]:
    """Whose rows are seen."""
    return [user for (user,) in connection.execute(f"SELECT payload->>'user_id' FROM {table}")]


@pytest.mark.parametrize("table", access.TABLES)
def test_a_token_shows_its_user_alone(locked: Locked, table: str) -> None:
    with locked.connect(locked.key.sign("alice", 60)) as alice:
        assert users(alice, table) == ["alice"]
        assert alice.execute(f"SELECT 1 FROM {table} WHERE payload ? 'user_id'").fetchall() == [(1,)]
        assert alice.execute(f"SELECT 1 FROM {table} WHERE id = %s", (OTHERS_ID,)).fetchall() == []
        assert alice.execute(f"DELETE FROM {table} WHERE payload->>'user_id' = 'bob' OR true").rowcount == 1
        with pytest.raises(InsufficientPrivilege):
            alice.execute(INSERT.format(table), (uuid.uuid4(), "bob"))
    with locked.connect(locked.key.sign("bob", 60)) as bob:
        assert users(bob, table) == ["bob"]
        with pytest.raises(InsufficientPrivilege):
            bob.execute(f"UPDATE {table} SET payload = jsonb_set(payload, '{{user_id}}', '\"alice\"')")


def forgeries(key: access.TokenKey) -> dict[str, str | None]:
    """Tokens that are none."""
    alice, bob = key.sign("alice", 60), key.sign("bob", 60)
    said, _, signature = alice.rpartition("|")
    return {
        "none": None,
        "empty": "",
        "the bare id": "bob",
        "another's signature": f"bob|{said.partition('|')[2]}|{signature}",
        "a longer life": f"bob|{int(time.time()) + 9_999}|{bob.rpartition('|')[2]}",
        "expired": key.sign("bob", -1),
        "a fourth part": f"{bob}|x",
        "an empty signature": bob.rpartition("|")[0] + "|",
        "no number": "bob|x|y",
        "a long number": f"bob|{10**30}|{signature}",
        "another key": access.TokenKey(b"a" * 64, b"b" * 64).sign("bob", 60),
        "upper case": bob.upper(),
        "the wildcard": "*|1|x",
    }


def test_a_forged_token_shows_nothing(locked: Locked) -> None:
    for name, token in forgeries(locked.key).items():
        with locked.connect(token) as connection:
            assert users(connection) == [], name
            with pytest.raises(InsufficientPrivilege):
                connection.execute(INSERT.format("memories"), (uuid.uuid4(), "bob"))


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM memory_key",
        "SELECT * FROM runs",
        "SELECT * FROM api_keys",
        "INSERT INTO audit (actor, action, subject) VALUES ('x', 'y', 'z')",
        "ALTER TABLE memories DISABLE ROW LEVEL SECURITY",
        "ALTER TABLE memories NO FORCE ROW LEVEL SECURITY",
        "DROP POLICY own ON memories",
        "CREATE POLICY mine ON memories USING (true)",
        "TRUNCATE memories",
        "CREATE OR REPLACE FUNCTION memory_user() RETURNS text LANGUAGE sql AS $$ SELECT 'bob' $$",
        "SET ROLE {owner}",
        "GRANT {owner} TO CURRENT_USER",
        "ALTER ROLE CURRENT_USER BYPASSRLS",
        "COPY memories TO PROGRAM 'cat'",
    ],
)
def test_the_role_cannot_open_the_lock(locked: Locked, statement: str) -> None:
    with locked.connect(locked.key.sign("alice", 60)) as connection:
        with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.InvalidGrantOperation)):
            connection.execute(statement.format(owner=locked.owner))
        assert users(connection) == ["alice"]


def test_what_a_run_makes_for_itself_changes_nothing(locked: Locked) -> None:
    with locked.connect(locked.key.sign("alice", 60)) as connection:
        for statement in (
            "CREATE TEMP TABLE memory_key AS SELECT ''::bytea AS inner_pad, ''::bytea AS outer_pad",
            "CREATE FUNCTION pg_temp.sha256(bytea) RETURNS bytea LANGUAGE sql AS $$ SELECT $1 $$",
            "CREATE FUNCTION pg_temp.memory_user() RETURNS text LANGUAGE sql AS $$ SELECT 'bob' $$",
            "SET search_path = pg_temp, public",
            "SET row_security = on",
        ):
            connection.execute(statement)
        connection.execute(f"SET {access.TOKEN_SETTING} = 'bob|9999999999|x'")
        assert users(connection) == []
        connection.execute("SET row_security = off")
        with pytest.raises(InsufficientPrivilege):
            users(connection)


def test_a_function_of_ones_own_in_a_filter_sees_no_other_row(locked: Locked) -> None:
    with locked.connect(locked.key.sign("alice", 60)) as connection:
        connection.execute(
            "CREATE FUNCTION pg_temp.tell(jsonb) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS "
            "$$ BEGIN RAISE NOTICE '%', $1; RETURN true; END $$"
        )
        told: list[str] = []
        connection.add_notice_handler(lambda notice: told.append(str(notice.message_primary)))
        connection.execute("SELECT 1 FROM memories WHERE pg_temp.tell(payload)")
        assert len(told) == 1
        assert "bob" not in told[0]


def test_the_lock_is_found_whole_and_migrating_again_changes_nothing(locked: Locked) -> None:
    assert locked.doors() == []
    locked.migrate()
    assert locked.doors() == []
    with locked.connect(locked.key.sign("alice", 60)) as alice:
        assert users(alice) == ["alice"]


OPENED: dict[str, tuple[str, str]] = {
    "bypass": ("ALTER ROLE {role} BYPASSRLS", "may bypass row-level security"),
    "superuser": ("ALTER ROLE {role} SUPERUSER", "may bypass row-level security"),
    "a member of who may read all": ("GRANT pg_read_all_data TO {role}", "is a member of pg_read_all_data"),
    "owner": ("ALTER TABLE memories OWNER TO {role}", "owns memories"),
    "a grant on runs": ("GRANT SELECT ON runs TO {role}", "may read or change public.runs"),
    "a grant on keys to all": ("GRANT SELECT ON api_keys TO PUBLIC", "may read or change public.api_keys"),
    "a grant on the key": ("GRANT SELECT ON memory_key TO {role}", "may read or change public.memory_key"),
    "not enabled": ("ALTER TABLE memories_entities DISABLE ROW LEVEL SECURITY", "memories_entities is not enabled"),
    "not forced": ("ALTER TABLE memories NO FORCE ROW LEVEL SECURITY", "memories is not enabled and forced"),
    "no policy": ("DROP POLICY own ON memories", "memories lacks its policy, or has one that lets more in (none)"),
    "another policy": ("CREATE POLICY more ON memories USING (true)", "has one that lets more in (more, own)"),
    "a wider policy": ("ALTER POLICY own ON memories USING (true)", "memories lacks its policy"),
    "a policy for writing": ("ALTER POLICY own ON memories WITH CHECK (true)", "memories lacks its policy"),
    "the owner's policy for all": ("ALTER POLICY owner ON memories TO PUBLIC", "policy `owner` of the table memories"),
    "who may replicate": ("ALTER ROLE {role} REPLICATION", "may bypass row-level security, or make roles"),
    "who may make roles": ("ALTER ROLE {role} CREATEROLE", "may bypass row-level security, or make roles"),
    "a grant on columns of the key": ("GRANT SELECT (inner_pad, outer_pad) ON memory_key TO {role}", "memory_key"),
    "a grant on a column": ("GRANT SELECT (input) ON runs TO {role}", "may read or change public.runs"),
    "a view in another schema": (
        "CREATE SCHEMA beside; CREATE VIEW beside.all AS SELECT * FROM memories; "
        "GRANT USAGE ON SCHEMA beside TO {role}; GRANT SELECT ON beside.all TO {role}",
        "may read or change beside.all",
    ),
    "tables of its own": ("GRANT CREATE ON SCHEMA public TO {role}", "may make tables and functions"),
    "truncate": ("GRANT TRUNCATE ON memories TO {role}", "more rights on memories"),
    "a trigger": ("GRANT TRIGGER ON memories TO {role}", "more rights on memories"),
    "how old a row is": ("GRANT UPDATE (remembered_at) ON memories TO {role}", "more rights on memories"),
    "a policy with a back door": (
        "ALTER POLICY own ON memories USING (payload->>'user_id' = memory_user() OR true)",
        "memories lacks its policy",
    ),
    "the owner's policy for a group": ("ALTER POLICY owner ON memories TO {owner}, pg_monitor", "`owner`"),
    "another function": (
        "CREATE OR REPLACE FUNCTION memory_user() RETURNS text LANGUAGE sql AS "
        "$$ SELECT split_part(current_setting('crewyard.memory_token'), '|', 1) $$",
        "is not the one that reads tokens",
    ),
    "a function of its own": ("ALTER FUNCTION memory_user() OWNER TO {role}", "owns memory_user()"),
    "a function that it may not call": ("REVOKE EXECUTE ON FUNCTION memory_user() FROM {role}", "may not call it"),
    "no table": ("DROP TABLE memories_entities", "no table memories_entities"),
}


@pytest.mark.parametrize("name", OPENED)
def test_an_open_door_is_named(locked: Locked, name: str) -> None:
    statement, said = OPENED[name]
    with locked.admin.transaction() as tx:
        tx.execute(text(statement.format(role=locked.role, owner=locked.owner)))
    assert said in "\n".join(locked.doors())


def test_other_dimensions_are_named_with_what_to_do(locked: Locked) -> None:
    [said] = locked.doors(dimensions=1536)
    assert "holds embeddings of 3 dimensions, and the model gives 1536" in said
    assert "memory reindex" in said


def test_of_a_superuser_nothing_more_is_said(locked: Locked) -> None:
    with locked.admin.transaction() as tx:
        tx.execute(text(f"ALTER ROLE {locked.role} SUPERUSER"))
    assert len(locked.doors()) == 1


@pytest.mark.parametrize("user_id", ["", "*", "a b", "a|b", "a'b", "ä", "a\n", "x" * 129])
def test_no_token_is_made_for_an_unsafe_id(user_id: str) -> None:
    with pytest.raises(ValueError, match="is not 1 to 128 letters"):
        access.TokenKey(b"a" * 64, b"b" * 64).sign(user_id, 60)
