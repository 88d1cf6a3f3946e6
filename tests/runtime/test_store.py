"""The store: claims, fences and bounds hold, whoever does what at the same time."""

import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest
from crewyard_runtime.execution import Outcome
from crewyard_runtime.execution.messages import Failure
from crewyard_runtime.store import Database, SchemaBehind, audit, events, intake, keys, rates, runs, webhooks
from crewyard_runtime.testing.servers import Postgres
from crewyard_runtime.testing.service import new_database
from crewyard_runtime.usage import Usage
from sqlalchemy import make_url, text
from sqlalchemy.event import listen
from sqlalchemy.exc import DBAPIError

BOUND = 10


@pytest.fixture
def database(postgres: Postgres, empty_database: str) -> Iterator[Database]:
    """A database of the test's own."""
    database = Database(new_database(postgres.url, empty_database), connections=20)
    yield database
    database.close()


def add(database: Database, user_id: str | None = None, **values: Any) -> UUID:
    """Queue a run."""
    run_id = uuid.uuid4()
    given = {"max_attempts": 2, "input": {"text": "\0"}, **values}
    with database.transaction() as tx:
        intake.submit(tx, intake.NewRun(run_id, "support", user_id, **given))
    return run_id


def claim(database: Database, lease_seconds: float = 60, bound: int = BOUND) -> runs.Claim | None:
    """Claim a run as a worker would."""
    with database.transaction() as tx:
        return runs.claim(tx, "worker", ["support"], lease_seconds, bound)


def succeeded(run_id: UUID, **values: Any) -> Outcome:
    """A good end."""
    return Outcome(run_id=str(run_id), status="succeeded", **values)


def kinds(database: Database, run_id: UUID) -> list[str]:
    """The kinds of a run's events, in their order; their numbers have no gap."""
    with database.transaction() as tx:
        found = events.after(tx, run_id, 0)
    assert [event.number for event in found] == list(range(1, len(found) + 1))
    return [event.kind for event in found]


def test_the_oldest_run_is_claimed_first(database: Database) -> None:
    added = [add(database) for _ in range(3)]
    assert [getattr(claim(database), "id", None) for _ in range(4)] == [*added, None]


def test_a_run_of_another_application_is_left_alone(database: Database) -> None:
    add(database)
    with database.transaction() as tx:
        assert runs.claim(tx, "worker", ["other"], 60, BOUND) is None
        assert not runs.may_start(tx, ["other"], BOUND)
        assert runs.may_start(tx, ["support"], BOUND)


def test_claims_at_once_get_different_runs(database: Database) -> None:
    added = {add(database) for _ in range(30)}
    with ThreadPoolExecutor(8) as pool:
        claimed = list(pool.map(lambda _: claim(database), range(40)))
    got = [each.id for each in claimed if each is not None]
    assert sorted(got) == sorted(added)


def test_claims_at_once_keep_to_the_bound_of_a_user(database: Database) -> None:
    for _ in range(20):
        add(database, "greedy")
    with ThreadPoolExecutor(8) as pool:
        claimed = [each for each in pool.map(lambda _: claim(database, bound=3), range(30)) if each is not None]
    assert len(claimed) == 3
    with database.transaction() as tx:
        assert runs.finish(tx, claimed[0], succeeded(claimed[0].id))
    assert claim(database, bound=3) is not None
    assert claim(database, bound=3) is None


def test_a_worker_frozen_in_a_claim_holds_up_the_others_for_seconds_only(database: Database) -> None:
    add(database)
    frozen = database.engine.connect()
    runs.claim(frozen, "frozen", ["support"], 60, BOUND)
    started = time.monotonic()
    claimed = claim(database)
    assert claimed is not None
    assert claimed.attempt == 1, "the claim of the frozen worker came to nothing"
    assert time.monotonic() - started < 9
    frozen.invalidate()


def test_only_the_holder_of_a_run_can_write(database: Database) -> None:
    run_id = add(database)
    old = claim(database, lease_seconds=0.01)
    assert old is not None
    time.sleep(0.02)  # the lease is the subject here
    with database.transaction() as tx:
        assert [ended.status for ended in runs.sweep(tx)] == ["queued"]
    new = claim(database)
    assert new is not None
    assert (new.id, new.attempt) == (run_id, 2)
    with database.transaction() as tx:
        assert runs.renew(tx, old, 60) is None
        assert not runs.finish(tx, old, succeeded(run_id, output="old"))
        assert runs.lose(tx, old, succeeded(run_id)) is None
        assert runs.give_back(tx, old, succeeded(run_id)) is None
        assert not events.append_if_held(tx, run_id, old.attempt, [("late", {})])
    with database.transaction() as tx:
        assert runs.finish(tx, new, succeeded(run_id, output="new"))
        assert not runs.finish(tx, new, succeeded(run_id, output="again"))
        run = runs.find(tx, run_id)
    assert run is not None
    assert run.output == "new"
    assert kinds(database, run_id).count(events.ENDED) == 1


def test_nothing_is_sent_as_a_pipeline_which_a_frozen_worker_would_leave_open(database: Database) -> None:
    sent: list[bool] = []
    listen(database.engine, "before_cursor_execute", lambda *arguments: sent.append(arguments[-1]))
    run_id = add(database, webhook_url="https://example.com")
    held = claim(database)
    assert held is not None
    with database.transaction() as tx:
        assert events.append_if_held(tx, run_id, 1, [("one", {}), ("two", {"half": "\ud83d"}), ("three", {})])
        assert runs.finish(tx, held, succeeded(run_id))
    assert sent
    assert not any(sent)
    assert kinds(database, run_id) == ["run.queued", "attempt.started", "one", "two", "three", events.ENDED]


def test_a_run_is_dead_when_all_its_attempts_died(database: Database) -> None:
    run_id = add(database, max_attempts=2)
    for expected in ("queued", "dead"):
        held = claim(database)
        assert held is not None
        died = Outcome(run_id=str(run_id), status="failed", died=True, error=Failure(reason=f"attempt {held.attempt}"))
        with database.transaction() as tx:
            assert runs.lose(tx, held, died) == expected
    with database.transaction() as tx:
        assert [attempt.error["reason"] for attempt in runs.attempts_of(tx, run_id)] == ["attempt 1", "attempt 2"]
        runs.retry(tx, run_id, max_attempts=1)
        with pytest.raises(runs.NotNow, match="queued"):
            runs.retry(tx, run_id, max_attempts=1)
    held = claim(database)
    assert held is not None
    assert held.attempt == 3, "the fence only grows"


def test_a_run_that_was_handed_back_has_lost_no_attempt(database: Database) -> None:
    run_id = add(database, max_attempts=1)
    for _ in range(3):
        held = claim(database)
        assert held is not None
        with database.transaction() as tx:
            assert runs.give_back(tx, held, succeeded(run_id)) == "queued"


@pytest.mark.parametrize("end", [runs.lose, runs.give_back])
def test_a_cancelled_run_is_not_done_again(database: Database, end: Any) -> None:
    run_id = add(database)
    held = claim(database)
    assert held is not None
    with database.transaction() as tx:
        assert runs.cancel(tx, run_id) == "running"
        assert runs.renew(tx, held, 60) is False
        assert end(tx, held, succeeded(run_id)) == "cancelled"
        assert runs.cancel(tx, run_id) == "cancelled"
    assert claim(database) is None


def test_usage_adds_up_and_an_unknown_cost_stays_unknown(database: Database) -> None:
    run_id = add(database, max_attempts=3)
    for used in (Usage(model_calls=1, prompt_tokens=10, cost_usd=0.5), Usage(model_calls=2, cost_usd=None)):
        held = claim(database)
        assert held is not None
        with database.transaction() as tx:
            runs.lose(tx, held, succeeded(run_id, usage=used))
    with database.transaction() as tx:
        run = runs.find(tx, run_id)
    assert run is not None
    assert (run.model_calls, run.prompt_tokens, run.cost_usd) == (3, 10, None)


def test_the_same_key_is_one_run_also_at_once(database: Database) -> None:
    def submit(number: int) -> UUID | str:
        try:
            with database.transaction() as tx:
                new = intake.NewRun(uuid.uuid4(), "support", "user", number % 2, 3)
                submitted = intake.submit(tx, new, "key", str(number % 2))
                run = submitted.run or intake.submitted_with(tx, "user", "key", str(number % 2))
                return str(run.id) if run else "neither"
        except intake.IdempotencyConflict:
            return "conflict"

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(submit, range(20)))
    assert answers.count("conflict") == 10
    assert len(set(answers)) == 2
    with database.transaction() as tx:
        assert runs.waiting(tx, 100) == 1


def test_pages_show_each_run_once_however_many_come_meanwhile(database: Database) -> None:
    added = [add(database, "user") for _ in range(7)]
    add(database, "other")
    seen: list[UUID] = []
    after = None
    while True:
        with database.transaction() as tx:
            page = runs.page(tx, "user", after=after, size=3)
        seen += [run.id for run in page.runs]
        add(database, "user")
        if page.next is None:
            break
        after = page.next
    assert seen == added[::-1]


def test_pruning_takes_old_ended_runs_with_all_that_is_theirs(database: Database) -> None:
    old, young, waiting = add(database, webhook_url="https://example.org"), add(database), add(database)
    for run_id in (old, young):
        held = claim(database)
        assert held is not None
        with database.transaction() as tx:
            runs.finish(tx, held, succeeded(run_id))
    with database.transaction() as tx:
        past = "created_at = now() - interval '9 days'"
        tx.execute(text(f"UPDATE runs SET {past} WHERE id IN (:old, :waiting)"), {"old": old, "waiting": waiting})
        tx.execute(text("UPDATE runs SET finished_at = created_at WHERE id = :old"), {"old": old})
        assert runs.prune(tx, days=8) == 1
        assert [runs.find(tx, each) is None for each in (old, young, waiting)] == [True, False, False]
        for table in ("attempts", "events", "webhooks"):
            left = tx.execute(text(f"SELECT count(*) FROM {table} WHERE run_id = :old"), {"old": old}).scalar()
            assert left == 0, table


def test_the_audit_can_only_be_added_to(database: Database) -> None:
    with database.transaction() as tx:
        audit.record(tx, "key:1", "run.cancelled", "a run")
    for statement in ("DELETE FROM audit", "UPDATE audit SET actor = 'x'", "TRUNCATE audit"):
        with pytest.raises(DBAPIError, match="can only be added to"), database.transaction() as tx:
            tx.execute(text(statement))


def test_a_rate_holds_whoever_counts(database: Database) -> None:
    def take(_: int) -> float | None:
        with database.transaction() as tx:
            return rates.take(tx, "user", per_minute=10)

    with ThreadPoolExecutor(8) as pool:
        waits = list(pool.map(take, range(30)))
    assert waits.count(None) == 10
    assert all(0 < wait <= 6 for wait in waits if wait is not None)
    with database.transaction() as tx:
        assert rates.take(tx, "another user", per_minute=10) is None


@pytest.mark.parametrize(
    "wrong", ["", "cy", "cy_", "cy_x_y", "x_{0}", "{0}x", "{0} ", "{0}".upper(), "*", "%", "cy_%_%"]
)
def test_a_wrong_key_is_nobodys(database: Database, wrong: str) -> None:
    with database.transaction() as tx:
        key = keys.create(tx, "alice")
        assert keys.find(tx, key) is not None
        given = key.upper() if wrong == "{0}" else wrong.format(key)
        assert keys.find(tx, given) is None


def test_keys_of_an_owner_are_one_user_until_they_are_revoked(database: Database) -> None:
    with database.transaction() as tx:
        first, second, other = keys.create(tx, "alice"), keys.create(tx, "alice", operator=True), keys.create(tx, "bob")
        found = [keys.find(tx, key) for key in (first, second, other)]
        assert [principal is not None and principal.operator for principal in found] == [False, True, False]
        ids = [principal.user_id for principal in found if principal]
        assert ids[0] == ids[1] != ids[2]
        assert keys.revoke(tx, first)
        assert not keys.revoke(tx, first)
        assert keys.find(tx, first) is None
        assert keys.find(tx, second) is not None
        assert first.split("_")[2] not in str(keys.all_of(tx))


def test_migrations_that_start_at_once_go_one_after_the_other(postgres: Postgres) -> None:
    with Database(postgres.url).engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        name = f"fresh_{uuid.uuid4().hex}"
        connection.execute(text(f"CREATE DATABASE {name}"))
    url = make_url(postgres.url).set(database=name).render_as_string(hide_password=False)
    databases = [Database(url) for _ in range(4)]
    with pytest.raises(SchemaBehind, match="run the command `migrate`"):
        databases[0].ping()
    ready = threading.Barrier(len(databases))

    def migrate(database: Database) -> str:
        ready.wait()
        return database.migrate()

    with ThreadPoolExecutor(len(databases)) as pool:
        assert len(set(pool.map(migrate, databases))) == 1
    databases[0].ping()
    for database in databases:
        database.close()


def test_the_schema_of_the_statements_is_that_of_the_migrations(database: Database) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext
    from crewyard_runtime.store.schema import metadata

    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"include_object": _columns_alone})
        differences = [each for each in compare_metadata(context, metadata) if isinstance(each, tuple)]
    assert not [each for each in differences if each[0] in ("add_table", "remove_table", "add_column", "remove_column")]


def _columns_alone(thing: Any, name: str | None, kind: str, reflected: bool, other: Any) -> bool:
    return name != "alembic_version" and kind in ("table", "column")


def test_a_webhook_is_noted_with_the_end_and_sent_by_one(database: Database) -> None:
    add(database, webhook_url="https://example.org/hook")
    held = claim(database)
    assert held is not None
    with database.transaction() as tx:
        assert webhooks.claim(tx) is None
        runs.finish(tx, held, succeeded(held.id, output={"text": "\0"}))

    def take(_: int) -> webhooks.Delivery | None:
        with database.transaction() as tx:
            return webhooks.claim(tx)

    with ThreadPoolExecutor(4) as pool:
        taken = [each for each in pool.map(take, range(8)) if each is not None]
    assert [(each.body["type"], each.body["data"]["output"]) for each in taken] == [("run.succeeded", {"text": "\0"})]
    with database.transaction() as tx:
        webhooks.failed(tx, taken[0], "no", again_after_seconds=0)
    again = take(0)
    assert again is not None
    assert again.tries == 2
    with database.transaction() as tx:
        webhooks.failed(tx, again, "no", again_after_seconds=None)
    assert take(0) is None
