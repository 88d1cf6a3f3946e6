"""Workers and gateways of the last release and of the head serve one database and one broker at the same time."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from conftest import Projects, sh
from crewyard_runtime import embedded
from crewyard_runtime.store import Database
from crewyard_runtime.testing.model_server import ModelServer
from crewyard_runtime.testing.servers import Broker, Postgres
from crewyard_runtime.testing.service import OWN, Service, ends, freeze, thaw, until, variables_of
from sqlalchemy import make_url, text
from updates.conftest import Make
from updates.releases import released

SECONDS = 120
HELD_SECONDS = 20  # by a slow model; until then a worker is killed in the middle of its run
TICKET = {"subject": "An invoice twice", "body": "I have paid for March twice. What now?", "plan": "pro"}
NAMES = ("last", "head")
# What any later migration may do, as long as it only expands.
EXPANDED = """
ALTER TABLE runs ADD COLUMN of_a_later_release text;
ALTER TABLE attempts ADD COLUMN of_a_later_release integer NOT NULL DEFAULT 0;
CREATE TABLE of_a_later_release (id uuid PRIMARY KEY, run_id uuid REFERENCES runs ON DELETE CASCADE);
UPDATE alembic_version SET version_num = '9999';
"""


@dataclass
class Side:
    """The service of one release, as an installed project of that release starts it."""

    place: Path
    service: Service

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """What `my-crew` says to these arguments."""
        service = self.service
        return subprocess.run(
            [*service.run_as, sys.executable, *service.program, *arguments],
            env=service.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
        )

    def migrate(self) -> str:
        """Bring the database to this release."""
        done = self.command("migrate")
        assert done.returncode == 0, done.stderr
        return done.stdout

    def client(self) -> httpx.Client:
        """A user of this gateway; the same user for every gateway."""
        headers = {"Authorization": f"Bearer {self.service.key('a user')}"}
        return httpx.Client(base_url=self.service.api_url, headers=headers, timeout=SECONDS)

    def post(self, number: int) -> list[UUID]:
        """So many runs, sent to this gateway."""
        with self.client() as client:
            answers = [client.post("/runs/support", json=TICKET) for _ in range(number)]
        assert {answer.status_code for answer in answers} == {202}, [answer.text for answer in answers]
        return [UUID(answer.json()["id"]) for answer in answers]

    def told(self, run_id: UUID) -> tuple[str, str, str]:
        """The status, the output's text and the events of a run, as this gateway tells them."""
        with self.client() as client:
            run = client.get(f"/runs/{run_id}").json()
            return run["status"], run["output"]["body"], client.get(f"/runs/{run_id}/events").text


@dataclass
class Pair:
    """Both sides on one database."""

    last: Side
    head: Side

    def side(self, name: str) -> Side:
        return {"last": self.last, "head": self.head}[name]

    def stand(self) -> None:
        """Start what is missing of a gateway and a worker on each side."""
        for side in (self.last, self.head):
            side.service.stand(workers=1)

    def who(self, run_id: UUID) -> list[str]:
        """Whose worker made each attempt of a run."""
        workers = {
            process.pid: name for name in NAMES for process in self.side(name).service.processes
        }  # a worker's name has the number of its process
        return [workers[int(attempt.worker.rsplit("-", 2)[1])] for attempt in self.head.service.attempts(run_id)]


@pytest.fixture(scope="module")
def last_place(originals: Make, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project of the last release, installed."""
    place = tmp_path_factory.mktemp("last") / "my-crew"
    shutil.copytree(originals(released()[-1]), place, symlinks=True)
    sh(place, "uv", "sync", "--quiet")
    return place


@pytest.fixture(scope="module")
def make_pair(
    last_place: Path,
    projects: Projects,
    postgres: Postgres,
    broker: Broker,
    model_server: ModelServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Any]:
    """Makes both sides on a new, empty database; no process runs yet."""
    with ExitStack() as stack:

        def side(place: Path, database_url: str) -> Side:
            variables = {
                "OPENAI_BASE_URL": model_server.url,
                "OPENAI_API_KEY": "offline",
                "MEMORY": "pgvector",
                "MEMORY_DATABASE_URL": embedded.memory_url(database_url),
                "LIMITS__RECALL_SECONDS": "60",  # a slow model is waited for
                "PYTHONPATH": "",
            }
            # `Service` names this Python and these modules; the project's own Python takes its place.
            run_as = ("sh", "-c", 'cd "$0" && shift && exec .venv/bin/python "$@"', str(place))
            directory = tmp_path_factory.mktemp("side")
            return Side(
                place,
                stack.enter_context(
                    Service(directory, database_url, variables_of(broker), variables, program=OWN, run_as=run_as)
                ),
            )

        def make() -> Pair:
            database_url = _empty_database(postgres.url)
            pair = Pair(side(last_place, database_url), side(projects("crewai"), database_url))
            pair.head.service.queue = pair.last.service.queue
            return pair

        yield make


def _empty_database(server_url: str) -> str:
    with_a_name = make_url(server_url).set(database=f"side_by_side_{embedded.free_port()}")
    database = Database(server_url)
    with database.statements() as tx:
        tx.execute(text(f"CREATE DATABASE {with_a_name.database}"))
    database.close()
    return with_a_name.render_as_string(hide_password=False)


@pytest.fixture(scope="module")
def rolled_out(make_pair: Any) -> tuple[Pair, list[UUID]]:
    """The head rolled out beside the last release, which did some runs before, and during the migration."""
    pair: Pair = make_pair()
    pair.last.migrate()
    pair.last.service.stand(workers=1)
    ids = pair.last.post(2)
    pair.head.migrate()
    ids += pair.last.post(1)
    pair.stand()
    return pair, ids


@pytest.fixture
def pair(rolled_out: tuple[Pair, list[UUID]]) -> Pair:
    """The same, with what an earlier test has killed started anew."""
    rolled_out[0].stand()
    return rolled_out[0]


def all_succeed(pair: Pair, ids: list[UUID]) -> None:
    """Wait for the runs' ends; each succeeds, and both gateways tell the same of it."""
    ended = pair.head.service.until_ended(ids, SECONDS)
    assert [(run.status, run.error) for run in ended.values()] == [("succeeded", None)] * len(ids), ends(ended.values())
    for run_id in ids:
        told = pair.last.told(run_id)
        assert told == pair.head.told(run_id)
        assert told[0] == "succeeded"
        assert told[1]
        assert told[2].count("event: run.ended\n") == 1


@pytest.mark.parametrize("name", NAMES)
def test_each_side_runs_the_code_of_its_release(pair: Pair, name: str) -> None:
    side = pair.side(name)
    asked = "import crewyard_runtime, my_crew; print(crewyard_runtime.__file__, my_crew.__file__)"
    program = [*side.service.run_as, sys.executable, "-c", asked]
    done = subprocess.run(program, env=side.service.environment, capture_output=True, text=True, check=True)
    assert all(path.startswith(f"{side.place}/") for path in done.stdout.split()), done.stdout


def test_runs_from_before_and_during_the_migration_succeed(rolled_out: tuple[Pair, list[UUID]]) -> None:
    pair, ids = rolled_out
    all_succeed(pair, ids)
    assert pair.who(ids[0]) == ["last"]


def test_runs_of_both_gateways_are_done_by_both_workers(pair: Pair, faults: ModelServer) -> None:
    faults.fail("slow", times=None, seconds=1)  # so that one worker alone cannot be done before the other begins
    ids = pair.last.post(3) + pair.head.post(3)
    all_succeed(pair, ids)
    assert {who for run_id in ids for who in pair.who(run_id)} == set(NAMES)


@pytest.mark.parametrize(("killed", "other"), [NAMES, NAMES[::-1]])
def test_what_a_killed_worker_began_the_other_release_finishes(
    pair: Pair, faults: ModelServer, killed: str, other: str
) -> None:
    faults.fail("slow", seconds=HELD_SECONDS)
    [theirs], [others] = pair.side(killed).service.workers, pair.side(other).service.workers
    before = len(faults.requests)
    freeze(others)
    [run_id] = pair.side(other).post(1)
    try:
        until("the first model call", lambda: len(faults.requests) > before)
    finally:
        thaw(others)
    pair.side(killed).service.kill_only(theirs)
    all_succeed(pair, [run_id])
    assert pair.who(run_id) == [killed, other]
    assert [attempt.status for attempt in pair.head.service.attempts(run_id)] == ["lost", "succeeded"]


@pytest.mark.parametrize("name", NAMES)
def test_a_schema_of_a_later_release_is_behind_for_nobody(make_pair: Any, name: str) -> None:
    pair: Pair = make_pair()
    side = pair.side(name)
    pair.head.migrate()
    with side.service.database.transaction() as tx:
        tx.execute(text(EXPANDED))
    assert side.command("check").returncode == 0
    side.service.stand(workers=1)
    assert httpx.get(f"{side.service.api_url}/readyz", timeout=SECONDS).status_code == 200
    [run_id] = side.post(1)
    ended = side.service.until_ended([run_id], SECONDS)[run_id]
    assert ended.status == "succeeded", ended.error
    assert "run the command `migrate`" not in side.service.logs()


def test_an_older_schema_is_behind(make_pair: Any) -> None:
    pair: Pair = make_pair()
    pair.head.migrate()
    with pair.head.service.database.transaction() as tx:
        tx.execute(text("UPDATE alembic_version SET version_num = '0000'"))
    done = pair.head.command("worker")
    assert done.returncode == 78
    assert "run the command `migrate`" in done.stderr


def test_going_back_to_a_release_leaves_the_later_schema(make_pair: Any) -> None:
    """The release's job `migrate` comes before its gateways, also where a team goes back to it."""
    pair: Pair = make_pair()
    pair.head.migrate()
    with pair.head.service.database.transaction() as tx:
        tx.execute(text(EXPANDED))
    done = pair.head.command("migrate")
    assert done.returncode == 0, done.stderr
    with pair.head.service.database.transaction() as tx:
        assert tx.execute(text("SELECT version_num FROM alembic_version")).scalar() == "9999"
