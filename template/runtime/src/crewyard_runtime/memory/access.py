"""The second lock of the memory on Postgres: rows that are another user's do not exist, whatever filter asks for them.

Row-level security compares each row's user with that of a signed token, which comes with the connection of one run. The
role of the memory cannot make a token, so its own SQL cannot become another user either. Sources: Postgres's manual on
row security and on `SECURITY DEFINER`; RFC 2104 for the signature (HMAC-SHA256, with its two pads kept in place of the
key, because Postgres has SHA-256 and no HMAC).
"""

import hashlib
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection, make_url, text

from crewyard_runtime.memory.records import safe_user_id
from crewyard_runtime.settings import RuntimeSettings

# As Mem0 names the two tables of a collection; it would make them itself, later and without a policy.
TABLES = ("memories", "memories_entities")
TOKEN_SETTING = "crewyard.memory_token"
_BLOCK_BYTES = 64  # of SHA-256


@dataclass(frozen=True)
class TokenKey:
    """What tokens are signed with: the two pads of HMAC. It never leaves workers and commands for a run."""

    inner: bytes
    outer: bytes

    def sign(self, user_id: str, seconds: float) -> str:
        """A token for one user, for so many seconds. Raises ValueError for an id outside of the safe alphabet."""
        said = f"{safe_user_id(user_id)}|{int(time.time() + seconds)}"
        signature = hashlib.sha256(self.outer + hashlib.sha256(self.inner + said.encode()).digest()).hexdigest()
        return f"{said}|{signature}"


def migration(settings: RuntimeSettings) -> Callable[[Connection], None]:
    """What the settings' memory needs in the project's own database, for its owner to run."""
    if settings.memory != "pgvector" or settings.memory_database_url is None:
        return lambda tx: None
    url = make_url(settings.memory_database_url.get_secret_value())
    return lambda tx: migrate_memory(tx, url.username or "", url.password, settings.embedding_dimensions)


def migrate_memory(tx: Connection, role: str, password: str | None, dimensions: int) -> None:
    """Make the tables, the policies, the function that reads tokens, and the role; what is there already stays.

    tx: as the owner of the tables. dimensions: of the embeddings; those of a table that exists are not changed.
    Raises ProgrammingError where the owner may not create the extension `vector` or the role: an administrator must.
    """
    for statement in _KEY:
        tx.execute(text(statement))
    key = secrets.token_bytes(_BLOCK_BYTES)
    pads = {"inner": bytes(byte ^ 0x36 for byte in key), "outer": bytes(byte ^ 0x5C for byte in key)}
    tx.execute(
        text("INSERT INTO memory_key (inner_pad, outer_pad) VALUES (:inner, :outer) ON CONFLICT DO NOTHING"), pads
    )
    quoted = _make_role(tx, role, password)
    tx.execute(text(f"GRANT EXECUTE ON FUNCTION memory_user() TO {quoted}"))
    for table in TABLES:
        for statement in _TABLE:
            tx.execute(text(statement.format(table=table, role=quoted, dimensions=int(dimensions), own=_OWN)))


def token_key(tx: Connection) -> TokenKey:
    """The key, for whoever owns it."""
    row = tx.execute(text("SELECT inner_pad, outer_pad FROM memory_key")).one()
    return TokenKey(bytes(row.inner_pad), bytes(row.outer_pad))


def open_doors(tx: Connection, dimensions: int) -> list[str]:
    """What is wrong with the lock, one sentence each, seen by the role of the memory itself; empty if it holds."""
    given = {"tables": list(TABLES), "own": _OWN_AS_KEPT, "body": _BODY}
    for [role] in tx.execute(text(_BYPASS)):  # of all else there would be no end
        return [f"The role {role} may bypass row-level security, or make roles that may: give the memory a plain role."]
    found = [sentence.format(*row) for sentence, query in _DOORS.items() for row in tx.execute(text(query), given)]
    other = {there for _, there in tx.execute(text(_DIMENSIONS), given) if there != dimensions}
    return found + [
        f"The memory holds embeddings of {there} dimensions, and the model gives {dimensions}: "
        "set EMBEDDING_DIMENSIONS back, or run the command `memory reindex`."
        for there in other
    ]


def _make_role(tx: Connection, role: str, password: str | None) -> str:
    quoted = '"' + role.replace('"', '""') + '"'
    if tx.execute(text("SELECT 1 FROM pg_roles WHERE rolname = :role"), {"role": role}).one_or_none() is None:
        tx.execute(text(f"CREATE ROLE {quoted} LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE NOINHERIT"))
        if password is not None:
            literal = tx.execute(text("SELECT quote_literal(:password)"), {"password": password}).scalar_one()
            tx.execute(text(f"ALTER ROLE {quoted} PASSWORD {literal}".replace(":", r"\:")))
    return quoted


# A subquery, so that the token is read once a statement and not once a row.
_OWN = "payload->>'user_id' = (SELECT memory_user())"

_BODY = f"""
    DECLARE
        parts text[] := string_to_array(current_setting('{TOKEN_SETTING}', true), '|');
        pads record;
    BEGIN
        IF array_length(parts, 1) IS DISTINCT FROM 3 OR parts[2] !~ '^[0-9]{{1,12}}$' THEN
            RETURN NULL;
        END IF;
        SELECT inner_pad, outer_pad INTO pads FROM public.memory_key;
        IF parts[3] IS DISTINCT FROM encode(sha256(pads.outer_pad || sha256(
            pads.inner_pad || convert_to(parts[1] || '|' || parts[2], 'UTF8'))), 'hex')
            OR parts[2]::bigint < extract(epoch FROM clock_timestamp()) THEN
            RETURN NULL;
        END IF;
        RETURN parts[1];
    END
"""
_ESCAPED_BODY = _BODY.replace(":", r"\:")  # for SQLAlchemy, to which a colon begins a parameter
_USER_OF_TOKEN = f"""
    CREATE OR REPLACE FUNCTION memory_user() RETURNS text
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $${_ESCAPED_BODY}$$
"""

_KEY = (
    "CREATE EXTENSION IF NOT EXISTS vector",
    """
    CREATE TABLE IF NOT EXISTS memory_key (
        one boolean PRIMARY KEY DEFAULT true CHECK (one), inner_pad bytea NOT NULL, outer_pad bytea NOT NULL
    )
    """,
    "REVOKE ALL ON memory_key FROM PUBLIC",
    _USER_OF_TOKEN,
    "REVOKE ALL ON FUNCTION memory_user() FROM PUBLIC",
)

# In the row, where up to 2,000 dimensions have room. Apart from it, as is their default, Postgres counts only the small
# rows, and reads all of a user's vectors for each recall: of 10,000, in seven times the time. And the payload as well,
# as long as it fits: from a row of this size it would be put apart, and with it whose row it is.
IN_THE_ROW = "ALTER TABLE {table} ALTER vector SET STORAGE PLAIN, ALTER payload SET STORAGE MAIN"
HNSW_INDEX = "CREATE INDEX IF NOT EXISTS {table}_hnsw_idx ON {table} USING hnsw (vector vector_cosine_ops)"
_TABLE = (
    """
    CREATE TABLE IF NOT EXISTS {table} (id uuid PRIMARY KEY, vector vector({dimensions}) NOT NULL, payload jsonb,
        remembered_at timestamptz NOT NULL DEFAULT now())
    """,
    IN_THE_ROW,
    "CREATE INDEX IF NOT EXISTS {table}_user ON {table} ((payload->>'user_id'))",
    "CREATE INDEX IF NOT EXISTS {table}_age ON {table} (remembered_at)",
    HNSW_INDEX,
    "ALTER TABLE {table} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
    "DROP POLICY IF EXISTS own ON {table}",
    "CREATE POLICY own ON {table} USING ({own}) WITH CHECK ({own})",
    # For retention and erasure; FORCE would show the owner nothing.
    "DROP POLICY IF EXISTS owner ON {table}",
    "CREATE POLICY owner ON {table} TO CURRENT_USER USING (true)",
    "REVOKE ALL ON {table} FROM PUBLIC, {role}",
    # How old a row is, and so when it goes, is not a run's to say.
    "GRANT SELECT, DELETE, INSERT (id, vector, payload), UPDATE (vector, payload) ON {table} TO {role}",
)

_BYPASS = """
    SELECT rolname FROM pg_roles WHERE rolname = current_user
    AND (rolsuper OR rolbypassrls OR rolreplication OR rolcreaterole OR rolcreatedb)
"""
# Relations that are neither Postgres's own nor an extension's.
_RELATIONS = """
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
    AND NOT EXISTS (SELECT 1 FROM pg_depend WHERE objid = c.oid AND deptype = 'e')
"""
_IS_THERE = "to_regclass('public.' || name) IS NOT NULL"
_EACH = "unnest(CAST(:tables AS text[])) AS name"
_DOORS = {
    "The role {0} is a member of {1}: revoke that, so that it has no rights but its own.": """
        SELECT current_user, pg_get_userbyid(roleid) FROM pg_auth_members JOIN pg_roles ON pg_roles.oid = member
        WHERE rolname = current_user
    """,
    "The role {0} owns {1}, and an owner may switch policies off: let another role own it.": """
        SELECT current_user, string_agg(thing, ', ') FROM (
            SELECT relname::text AS thing FROM pg_class
            WHERE pg_get_userbyid(relowner) = current_user AND relkind IN ('r', 'p', 'v', 'm')
            UNION ALL SELECT proname || '()' FROM pg_proc WHERE pg_get_userbyid(proowner) = current_user
        ) AS its HAVING count(*) > 0
    """,
    "The role {0} may read or change {1}, which is not the memory's: revoke what was granted.": f"""
        SELECT current_user, string_agg(name, ', ') FROM (
            SELECT n.nspname || '.' || c.relname AS name {_RELATIONS}
            AND NOT (n.nspname = 'public' AND c.relname = ANY(:tables)) AND has_schema_privilege(n.oid, 'USAGE')
            AND (has_table_privilege(c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE')
                OR has_any_column_privilege(c.oid, 'SELECT, INSERT, UPDATE'))
            ORDER BY 1 LIMIT 5
        ) AS others HAVING count(*) > 0
    """,
    "The role {0} may make tables and functions in the schema public: revoke CREATE from it and from PUBLIC.": """
        SELECT current_user WHERE has_schema_privilege('public', 'CREATE')
    """,
    "The role {0} has more rights on {1} than a memory needs: run the command `migrate`.": f"""
        SELECT current_user, name FROM {_EACH} WHERE {_IS_THERE}
        AND (has_table_privilege('public.' || name, 'TRUNCATE, REFERENCES, TRIGGER')
            OR has_column_privilege('public.' || name, 'remembered_at', 'INSERT, UPDATE'))
    """,
    "There is no table {0} for the memory: run the command `migrate`.": f"""
        SELECT name FROM {_EACH} WHERE NOT {_IS_THERE}
    """,
    "Row-level security of the table {0} is not enabled and forced: run the command `migrate`.": f"""
        SELECT relname FROM pg_class WHERE oid = ANY(SELECT to_regclass('public.' || name) FROM {_EACH})
        AND NOT (relrowsecurity AND relforcerowsecurity)
    """,
    "The table {0} lacks its policy, or has one that lets more in ({1}): run the command `migrate`.": f"""
        SELECT name, coalesce(string_agg(policyname, ', '), 'none') FROM {_EACH}
        LEFT JOIN pg_policies p ON p.schemaname = 'public' AND p.tablename = name AND p.policyname <> 'owner'
        WHERE {_IS_THERE} GROUP BY name
        HAVING count(*) FILTER (WHERE p.policyname = 'own' AND p.cmd = 'ALL' AND p.permissive = 'PERMISSIVE'
            AND regexp_replace(p.qual, '\\s', '', 'g') = :own
            AND regexp_replace(p.with_check, '\\s', '', 'g') = :own) <> 1
            OR count(p.policyname) FILTER (WHERE p.permissive = 'PERMISSIVE') <> 1
    """,
    "The policy `owner` of the table {0} is for others too: run the command `migrate`.": """
        SELECT tablename FROM pg_policies JOIN pg_tables USING (schemaname, tablename)
        WHERE schemaname = 'public' AND tablename = ANY(:tables) AND policyname = 'owner'
        AND roles IS DISTINCT FROM ARRAY[tableowner]
    """,
    "The function memory_user() is not the one that reads tokens, or the role {0} may not call it: run the command "
    "`migrate`.": """
        SELECT current_user WHERE to_regclass('public.memory_key') IS NOT NULL AND NOT EXISTS (
            SELECT 1 FROM pg_proc f JOIN pg_class k ON k.oid = to_regclass('public.memory_key')
            WHERE f.oid = to_regproc('public.memory_user') AND f.prosrc = :body AND f.prosecdef
            AND f.proowner = k.relowner AND f.proconfig = ARRAY['search_path=pg_catalog, pg_temp']
            AND has_function_privilege(f.oid, 'EXECUTE'))
    """,
}
_OWN_AS_KEPT = "((payload->>'user_id'::text)=(SELECTmemory_user()ASmemory_user))"

_DIMENSIONS = """
    SELECT relname, atttypmod FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
    WHERE attname = 'vector' AND atttypmod > 0 AND pg_class.oid = ANY(SELECT to_regclass('public.' || name)
        FROM unnest(CAST(:tables AS text[])) AS name)
"""
