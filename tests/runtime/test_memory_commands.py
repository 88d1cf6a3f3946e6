"""The memory from outside: it is migrated, checked, exported, erased, embedded anew and pruned by commands."""

import json
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from crewyard_runtime.settings import RuntimeSettings
from crewyard_runtime.startup import EX_CONFIG
from crewyard_runtime.store import Database, intake
from crewyard_runtime.testing.memories import Memories
from crewyard_runtime.testing.model_server import ModelServer
from crewyard_runtime.testing.servers import Postgres
from crewyard_runtime.testing.service import new_database
from pydantic import SecretStr
from runtime.orders import SECONDS, make_project, start
from sqlalchemy import make_url, text

Run = Callable[..., tuple[int, str, str]]


class Place:
    """A project whose memory is on Postgres. owner: the database's; url: of the memory's role."""

    def __init__(self, directory: Path, owner: str, server: ModelServer) -> None:
        make_project(directory)
        self.directory = directory
        self.owner = Database(owner)
        self.role = f"memory_{uuid.uuid4().hex[:8]}"
        self.url = make_url(owner).set(username=self.role, password="a-password").render_as_string(hide_password=False)
        self.variables = {
            "MEMORY": "pgvector",
            "DATABASE_URL": owner,
            "BROKER_URL": "redis://127.0.0.1:1/0",
            "MEMORY_DATABASE_URL": self.url,
            "EMBEDDING_DIMENSIONS": "32",
            "OPENAI_BASE_URL": server.url,
            "OPENAI_API_KEY": "offline",
            "COLUMNS": "300",
        }

    def run(self, *arguments: str, **environment: str) -> tuple[int, str, str]:
        """A command's exit code, output and standard error."""
        process = start(self.directory, *arguments, **{**self.variables, **environment})
        out, err = process.communicate(timeout=SECONDS)
        return process.returncode, out, err

    def memories(self, dimensions: int = 32) -> Memories:
        """Those of its runs."""
        settings = RuntimeSettings(
            memory="pgvector",
            memory_database_url=SecretStr(self.url),
            embedding_dimensions=dimensions,
            openai_base_url=self.variables["OPENAI_BASE_URL"],
            openai_api_key=SecretStr("offline"),
        )
        return Memories(settings, self.owner)

    def sql(self, statement: str) -> None:
        """As the owner."""
        with self.owner.transaction() as tx:
            tx.execute(text(statement))


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    with Postgres(tmp_path_factory.mktemp("postgres")) as server:
        yield server


@pytest.fixture(scope="module")
def tables(postgres: Postgres) -> str:
    """The name of a database with all tables of runs."""
    return str(make_url(new_database(postgres.url)).database)


@pytest.fixture
def place(tmp_path: Path, postgres: Postgres, tables: str, server: ModelServer) -> Iterator[Place]:
    made = Place(tmp_path, new_database(postgres.url, tables), server)
    code, _, err = made.run("migrate")
    assert code == 0, err
    yield made
    made.owner.close()


def test_what_is_migrated_passes_the_check(place: Place) -> None:
    code, out, err = place.run("check")
    assert code == 0, err
    assert out.startswith("ready")
    assert place.run("migrate")[0] == 0
    assert place.run("check")[0] == 0


@pytest.mark.parametrize(
    ("opened", "said"),
    [
        ("ALTER ROLE {role} BYPASSRLS", "may bypass row-level security"),
        ("ALTER TABLE memories NO FORCE ROW LEVEL SECURITY", "not enabled and forced"),
        ("DROP POLICY own ON memories_entities", "lacks its policy"),
        ("GRANT SELECT ON runs TO {role}", "not the memory's"),
        ("DROP TABLE memories", "no table memories"),
    ],
)
def test_check_and_worker_refuse_a_lock_that_is_open(place: Place, opened: str, said: str) -> None:
    place.sql(opened.format(role=place.role))
    for command in ("check", "worker"):
        code, _, err = place.run(command)
        assert code == EX_CONFIG
        assert "MEMORY_DATABASE_URL" in err
        assert said in err


@pytest.mark.parametrize(
    ("variables", "name", "said"),
    [
        ({"MEMORY_DATABASE_URL": ""}, "MEMORY_DATABASE_URL", "is not set"),
        ({"MEMORY_DATABASE_URL": "mysql://localhost/x"}, "MEMORY_DATABASE_URL", "must be a URL of postgresql"),
        ({"MEMORY_DATABASE_URL": "postgresql://a@127.0.0.1:x/x"}, "MEMORY_DATABASE_URL", "its port is no number"),
        ({"MEMORY_DATABASE_URL": "postgresql://127.0.0.1/x"}, "MEMORY_DATABASE_URL", "names no user"),
        (
            {"MEMORY_DATABASE_URL": "postgresql://postgres@127.0.0.1/x"},
            "MEMORY_DATABASE_URL",
            "the user of DATABASE_URL",
        ),
        ({"MEMORY_DATABASE_URL": "postgresql://a@127.0.0.1/other"}, "MEMORY_DATABASE_URL", "name the same"),
        ({"EMBEDDING_DIMENSIONS": "64"}, "MEMORY_DATABASE_URL", "memory reindex"),
        ({"EMBEDDING_DIMENSIONS": "4096"}, "EMBEDDING_DIMENSIONS", "less than or equal to 2000"),
        ({"EMBEDDING_MODEL": "anthropic/claude"}, "EMBEDDING_MODEL", "serves no embeddings"),
        ({"EMBEDDING_MODEL": "openrouter/x"}, "EMBEDDING_API_KEY", "by which memories are found"),
        ({"MEMORY": "nowhere"}, "MEMORY", "is invalid"),
        ({"MEMORY": "volume", "MEMORY_DIR": "/nowhere", "WORKERS": "2"}, "WORKERS", "takes one worker"),
    ],
    ids=str,
)
def test_check_names_what_the_memory_lacks(place: Place, variables: dict[str, str], name: str, said: str) -> None:
    code, _, err = place.run("check", **variables)
    assert code == EX_CONFIG
    assert name in err
    assert said in err


@pytest.mark.parametrize("command", [["migrate"], ["prune"], ["memory", "export", "--user", "ada"]], ids=" ".join)
def test_a_memory_that_is_not_named_is_missed(place: Place, command: list[str]) -> None:
    code, _, err = place.run(*command, MEMORY_DATABASE_URL="")
    assert code == EX_CONFIG
    assert "MEMORY_DATABASE_URL" in err
    assert "is not set" in err


def test_a_memory_that_does_not_answer_is_a_problem(place: Place) -> None:
    url = make_url(place.url).set(port=1).render_as_string(hide_password=False)
    code, _, err = place.run("check", MEMORY_DATABASE_URL=url)
    assert code == EX_CONFIG
    assert "the memory cannot be asked whether it is locked" in err


def test_an_owner_without_the_right_to_make_roles_is_told_what_to_do(place: Place) -> None:
    plain = f"plain_{uuid.uuid4().hex[:8]}"
    place.sql(f"CREATE ROLE {plain} LOGIN")
    place.sql(f"ALTER DATABASE {make_url(place.url).database} OWNER TO {plain}")
    place.sql(
        f"DO $$ BEGIN EXECUTE (SELECT string_agg('ALTER TABLE ' || tablename || ' OWNER TO {plain};', '') "
        "FROM pg_tables WHERE schemaname = 'public'); END $$"
    )
    owner = make_url(place.url).set(username=plain).render_as_string(hide_password=False)
    other = make_url(place.url).set(username="another_role").render_as_string(hide_password=False)
    code, _, err = place.run("migrate", DATABASE_URL=owner, MEMORY_DATABASE_URL=other)
    assert code == 1
    assert "an administrator of the database" in err
    assert "Traceback" not in err


def test_export_prints_what_is_known_about_one_user(place: Place) -> None:
    memories = place.memories()
    memories.of("ada").remember("ada lives in Oslo")
    memories.of("bob").remember("bob lives in Rome")
    code, out, err = place.run("memory", "export", "--user", "ada")
    assert code == 0, err
    [line] = map(json.loads, out.splitlines())
    assert line["text"] == "ada lives in Oslo"
    assert line["at"]


def test_erase_deletes_all_of_one_user_and_says_what_is_kept(place: Place) -> None:
    memories = place.memories()
    for fact in ("one", "two"):
        memories.of("ada").remember(fact)
    memories.of("bob").remember("bob lives in Rome")
    place.sql(
        'INSERT INTO memories_entities (id, vector, payload) SELECT id, vector, \'{"user_id": "ada", "data": "x"}\' '
        "FROM memories WHERE payload->>'user_id' = 'ada' LIMIT 1"
    )
    with place.owner.transaction() as tx:
        intake.submit(tx, intake.NewRun(uuid.uuid4(), "orders", "ada", {}, 1))
    code, out, err = place.run("memory", "erase", "--user", "ada")
    assert code == 0, err
    assert out == "erased of ada: 2 memories, 1 memories_entities\n"
    assert "1 runs of this user have not ended" in err
    assert "1 runs of this user, with their inputs and outputs, are kept" in err
    assert memories.of("ada").all() == []
    assert len(memories.of("bob").all()) == 1
    with place.owner.transaction() as tx:
        noted = tx.execute(
            text("SELECT subject FROM audit WHERE action = 'memory.erased' AND user_id = 'ada'")
        ).scalar()
    assert noted == "2 memories, 1 memories_entities"


def test_reindex_takes_another_number_of_dimensions(place: Place) -> None:
    place.memories().of("ada").remember("ada lives in Oslo")
    code, out, err = place.run("memory", "reindex", EMBEDDING_DIMENSIONS="64")
    assert code == 0, err
    assert out.startswith("1 memories were embedded")
    assert [str(each) for each in place.memories(64).of("ada").recall("Where does she live?")] == ["ada lives in Oslo"]
    assert place.run("check", EMBEDDING_DIMENSIONS="64")[0] == 0


def test_reindex_goes_on_where_it_was_ended(place: Place, server: ModelServer) -> None:
    place.memories().of("ada").remember("ada lives in Oslo")
    place.sql(
        "INSERT INTO memories (id, vector, payload) SELECT gen_random_uuid(), vector, payload "
        "FROM memories, generate_series(1, 149)"
    )
    server.clear("requests")
    server.fail("error", times=3)  # as often as one request is sent
    code, _, err = place.run("memory", "reindex", EMBEDDING_DIMENSIONS="64")
    assert code == 1
    assert "the memory failed: HTTPStatusError" in err
    code, out, err = place.run("memory", "reindex", EMBEDDING_DIMENSIONS="64")
    assert code == 0, err
    assert out.startswith("150 memories were embedded")
    assert len(place.memories(64).of("ada").recall("Oslo", limit=100)) == 100


def test_prune_deletes_what_is_old(place: Place) -> None:
    ada = place.memories().of("ada")
    ada.remember("an old fact")
    place.sql("UPDATE memories SET remembered_at = now() - interval '366 days'")
    ada.remember("a new fact")
    code, out, err = place.run("prune")
    assert code == 0, err
    assert "1 memories that are older than 365 days were deleted" in out
    assert [str(each) for each in ada.all()] == ["a new fact"]


@pytest.mark.parametrize("user", ["*", "", "a b", "x" * 129])
def test_a_wild_user_is_refused(place: Place, user: str) -> None:
    code, out, err = place.run("memory", "erase", f"--user={user}")
    assert code == 2
    assert out == ""
    assert "letters, digits" in err


def test_a_project_without_a_memory_says_so(place: Place) -> None:
    code, _, err = place.run("memory", "export", "--user", "ada", MEMORY="none")
    assert code == 1
    assert "this project remembers nothing" in err
