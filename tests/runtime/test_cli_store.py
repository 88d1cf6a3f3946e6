"""The commands that look into the store, from outside: keys are made and revoked, runs are shown and steered."""

import argparse
import json
import re
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import UUID

import pytest
from crewyard_runtime.cli import keys as keys_command
from crewyard_runtime.cli import runs as runs_command
from crewyard_runtime.errors import ErrorLink
from crewyard_runtime.execution import Outcome
from crewyard_runtime.execution.messages import Failure
from crewyard_runtime.identity import make_user_id
from crewyard_runtime.store import Database, events, intake, keys, runs
from crewyard_runtime.store.schema import audit
from crewyard_runtime.testing.servers import Postgres
from crewyard_runtime.testing.service import new_database
from crewyard_runtime.usage import Usage
from runtime.orders import SECONDS, Command, make_project, start
from sqlalchemy import make_url, select, text

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    with Postgres(tmp_path_factory.mktemp("postgres")) as server:
        yield server


@pytest.fixture(scope="module")
def empty(postgres: Postgres) -> str:
    """The name of a database with all tables and no rows."""
    return str(make_url(new_database(postgres.url)).database)


@pytest.fixture
def database(postgres: Postgres, empty: str) -> Iterator[Database]:
    made = Database(new_database(postgres.url, empty))
    yield made
    made.close()


def url_of(database: Database) -> str:
    return database.url.set(drivername="postgresql").render_as_string(hide_password=False)


@pytest.fixture
def command(database: Database, tmp_path: Path) -> Run:
    """Run a command on the database in a project that has no model key: exit code, output and standard error."""
    (tmp_path / "platform.toml").write_text('framework = "crewai"\n')

    def run(*arguments: str, **environment: str) -> tuple[int, str, str]:
        process = start(tmp_path, *arguments, **{"DATABASE_URL": url_of(database), **environment})
        out, err = process.communicate(timeout=SECONDS)
        return process.returncode, out, err

    return run


def submit(database: Database, run_id: UUID | None = None, user_id: str = "alice", max_attempts: int = 1) -> UUID:
    new = intake.NewRun(run_id or uuid.uuid4(), "orders", user_id, {"text": "an order"}, max_attempts)
    with database.transaction() as tx:
        intake.submit(tx, new)
    return new.id


def claim(database: Database) -> runs.Claim:
    with database.transaction() as tx:
        claimed = runs.claim(tx, "host-7-ab", ["orders"], 30, 10)
    assert claimed is not None
    return claimed


def finish(database: Database, status: Any = "succeeded", error: Failure | None = None, **used: Any) -> UUID:
    """Do a run that is queued."""
    claimed = claim(database)
    output = {"answer": "\x1b[2J done"} if status == "succeeded" else None
    usage = Usage(model_calls=2, prompt_tokens=30, completion_tokens=12, **used)
    outcome = Outcome(run_id=str(claimed.id), status=status, output=output, error=error, usage=usage)
    with database.transaction() as tx:
        assert runs.finish(tx, claimed, outcome)
    return claimed.id


def audited(database: Database) -> list[tuple[str, str, str]]:
    with database.transaction() as tx:
        return [tuple(row) for row in tx.execute(select(audit.c.actor, audit.c.action, audit.c.subject))]


def status_of(database: Database, run_id: UUID) -> str:
    with database.transaction() as tx:
        return str(tx.execute(text("SELECT status FROM runs WHERE id = :id"), {"id": run_id}).scalar_one())


def test_a_key_is_printed_alone_and_opens_with_its_rights(command: Run, database: Database) -> None:
    code, out, err = command("keys", "create", "Ålice, the second", "--operator")
    with database.transaction() as tx:
        principal = keys.find(tx, out.removesuffix("\n"))
    assert code == 0
    assert principal is not None
    assert principal.user_id == make_user_id("key", keys.ISSUER, "Ålice, the second")
    assert (principal.operator, principal.may_act_for) == (True, False)
    assert "cannot be shown again" in err


def test_keys_are_listed_with_their_rights_and_without_their_secrets(command: Run, database: Database) -> None:
    with database.transaction() as tx:
        plain, mighty = keys.create(tx, "alice"), keys.create(tx, "bob", operator=True, may_act_for=True)
        keys.revoke(tx, plain)
    code, out, _ = command("keys", "list")
    alice, bob = (next(line for line in out.splitlines() if owner in line) for owner in ("alice", "bob"))
    assert code == 0
    assert "operator, may act for others" in bob
    assert "operator" not in alice
    assert len(re.findall(r"\d\d:\d\d:\d\d", alice)) == 2, "when it was created and revoked"
    assert len(re.findall(r"\d\d:\d\d:\d\d", bob)) == 1
    for key in (plain, mighty):
        _, prefix, secret = key.split("_", 2)
        assert prefix in out
        assert secret not in out


@pytest.mark.parametrize("whole", [False, True], ids=["by its prefix", "by the whole key"])
def test_a_revoked_key_opens_nothing_and_cannot_be_revoked_again(command: Run, database: Database, whole: bool) -> None:
    with database.transaction() as tx:
        key = keys.create(tx, "alice")
    given = key if whole else key.split("_")[1]
    assert command("keys", "revoke", given)[0] == 0
    with database.transaction() as tx:
        assert keys.find(tx, key) is None
    code, out, err = command("keys", "revoke", given)
    assert (code, out) == (1, "")
    assert err.startswith("There is no valid key")
    assert key not in err


def test_the_audit_names_keys_by_their_prefix(command: Run, database: Database) -> None:
    key = command("keys", "create", "alice")[1].strip()
    command("keys", "revoke", key)
    subject = f"key:{key.split('_')[1]}"
    assert audited(database) == [("cli", "key.created", subject), ("cli", "key.revoked", subject)]


@pytest.mark.parametrize("owner", ["", " ", "a\nb", "a\x1b[2J", " alice", "x" * 201])
def test_an_owner_that_nobody_could_read_is_refused(capsys: pytest.CaptureFixture[str], owner: str) -> None:
    refuse(keys_command, "keys", "create", owner)
    assert "is no owner" in capsys.readouterr().err


def refuse(group: ModuleType, *arguments: str) -> None:
    """Have the arguments of a command refused."""
    parser = argparse.ArgumentParser()
    group.add_commands(parser.add_subparsers())
    with pytest.raises(SystemExit) as refused:
        parser.parse_args(arguments)
    assert refused.value.code == 2


@pytest.mark.parametrize("name", ["migrate", "prune"])
def test_the_schema_and_old_runs_are_tended_without_a_model_key(command: Run, name: str) -> None:
    assert command(name)[::2] == (0, "")


def test_a_database_without_tables_names_the_command_that_makes_them(command: Run, postgres: Postgres) -> None:
    code, _, err = command("keys", "list", DATABASE_URL=postgres.url)
    assert code == 1
    assert "run the command `migrate`" in err
    assert "Traceback" not in err


def test_a_database_that_is_not_there_is_one_sentence(command: Run) -> None:
    code, _, err = command("runs", "list", DATABASE_URL="postgresql://nobody@127.0.0.1:1/none")
    assert code == 1
    assert "the database cannot be used" in err
    assert "Traceback" not in err


def test_a_database_url_of_another_kind_is_told_as_by_check(command: Run) -> None:
    code, _, err = command("runs", "list", DATABASE_URL="mysql://x")
    assert code == 78
    assert "DATABASE_URL" in err


def test_runs_are_listed_newest_first(command: Run, database: Database) -> None:
    ids = [submit(database) for _ in range(3)]
    code, out, _ = command("runs", "list", "--limit", "2")
    assert code == 0
    assert re.findall(r"[0-9a-f-]{36}", out) == [str(ids[2]), str(ids[1])]


def test_runs_are_listed_by_status(command: Run, database: Database) -> None:
    done = submit(database)
    finish(database)
    waiting = submit(database)
    assert re.findall(r"[0-9a-f-]{36}", command("runs", "list", "--status", "queued")[1]) == [str(waiting)]
    out = command("runs", "list", "--status", "succeeded")[1]
    assert re.findall(r"[0-9a-f-]{36}", out) == [str(done)]
    assert "42" in out, "its tokens"


@pytest.mark.parametrize("arguments", [("--limit", "0"), ("--limit", "1001"), ("--status", "done")])
def test_a_list_that_cannot_be_is_refused(arguments: tuple[str, str]) -> None:
    refuse(runs_command, "runs", "list", *arguments)


def test_a_run_is_shown_with_the_errors_of_its_attempts(command: Run, database: Database) -> None:
    run_id = submit(database, max_attempts=2)
    chain = [ErrorLink(type="ValueError", message="no such customer", where="crm.py:7 in find")]
    lost = Outcome(run_id="", status="failed", died=True, error=Failure(reason="It was short of memory.", chain=chain))
    with database.transaction() as tx:
        assert runs.lose(tx, claim(database), lost) == "queued"
    finish(database, cost_usd=None)
    code, out, _ = command("runs", "show", str(run_id))
    assert code == 0
    for said in ("succeeded", "It was short of memory.", "ValueError: no such customer (crm.py:7 in find)", "an order"):
        assert said in out
    assert re.search(r"cost +unknown", out)
    assert re.search(r"tokens +42 in 2 model calls", out)
    assert "\x1b" not in out, "a model's answer drives no terminal"


def test_a_run_is_shown_as_the_gateway_shows_it(command: Run, database: Database) -> None:
    run_id = submit(database)
    finish(database, "failed", Failure(reason="It failed."), cost_usd=0.25)
    shown = json.loads(command("runs", "show", str(run_id), "--json")[1])
    assert (shown["id"], shown["status"], shown["cost_usd"]) == (str(run_id), "failed", 0.25)
    assert shown["input"] == {"text": "an order"}
    assert [attempt["error"]["reason"] for attempt in shown["attempts"]] == ["It failed."]


def test_the_first_characters_of_an_id_are_enough(command: Run, database: Database) -> None:
    run_id = submit(database, UUID("12345678-0000-4000-8000-000000000001"))
    submit(database, UUID("12345679-0000-4000-8000-000000000001"))
    for given in ("12345678", "12345678-00", "123456780000400080000000000000" + "01", str(run_id).upper()):
        assert json.loads(command("runs", "show", given, "--json")[1])["id"] == str(run_id)


@pytest.mark.parametrize(
    ("given", "code", "said"),
    [
        ("1234", 1, "There are several runs"),
        ("abcd", 1, "There is no run"),
        ("12345678-0000-4000-8000-000000000009", 1, "There is no run"),
        ("123", 2, "is no id of a run"),
        ("12345678-0000-4000-8000-0000000000011", 2, "is no id of a run"),
        ("%", 2, "is no id of a run"),
    ],
)
def test_an_id_that_means_no_run_is_one_sentence(
    command: Run, database: Database, given: str, code: int, said: str
) -> None:
    submit(database, UUID("12345678-0000-4000-8000-000000000001"))
    submit(database, UUID("12345679-0000-4000-8000-000000000001"))
    found, out, err = command("runs", "show", given)
    assert (found, out) == (code, "")
    assert said in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("action", ["follow", "cancel", "retry"])
def test_every_action_needs_a_run(command: Run, action: str) -> None:
    code, out, err = command("runs", action, "abcd")
    assert (code, out) == (1, "")
    assert err.startswith("There is no run")


@pytest.fixture
def follower(database: Database, tmp_path: Path) -> Iterator[Command]:
    """A command that follows a run, which is queued."""
    run_id = submit(database)
    command = Command(start(tmp_path, "runs", "follow", str(run_id), DATABASE_URL=url_of(database)))
    command.until_said("run.queued")
    yield command
    command.process.kill()
    command.process.wait()


@pytest.mark.parametrize(("status", "code"), [("succeeded", 0), ("failed", 1)])
def test_a_run_is_followed_to_its_end(follower: Command, database: Database, status: Any, code: int) -> None:
    claimed = claim(database)
    follower.until_said("attempt.started")
    with database.transaction() as tx:
        assert events.append_if_held(tx, claimed.id, 1, [("tool.called", {"tool": "look\x1b", "n": 1})])
    assert "\x1b" not in follower.until_said('"n": 1')
    error = None if status == "succeeded" else Failure(reason="It failed.")
    with database.transaction() as tx:
        assert runs.finish(tx, claimed, Outcome(run_id="", status=status, error=error))
    assert follower.process.wait(SECONDS) == code
    follower.until_said("run.ended")
    assert re.search(rf"status +{status}", follower.text)


def test_a_follower_that_leaves_lets_the_run_be(follower: Command, database: Database) -> None:
    assert follower.end() == 130
    follower.until_said("The run goes on")
    with database.transaction() as tx:
        assert [run.status for run in runs.page(tx, None).runs] == ["queued"]


def test_a_queued_run_is_cancelled_at_once(command: Run, database: Database) -> None:
    run_id = submit(database)
    code, out, _ = command("runs", "cancel", str(run_id))
    assert (code, out) == (0, f"the run {run_id} is cancelled\n")
    assert status_of(database, run_id) == "cancelled"
    assert audited(database) == [("cli", "run.cancelled", str(run_id))]


def test_a_running_run_is_cancelled_by_its_worker(command: Run, database: Database) -> None:
    run_id = submit(database)
    claimed = claim(database)
    code, out, _ = command("runs", "cancel", str(run_id))
    assert code == 0
    assert "its worker ends it" in out
    with database.transaction() as tx:
        assert runs.renew(tx, claimed, 30) is False


def test_an_ended_run_is_not_cancelled(command: Run, database: Database) -> None:
    run_id = submit(database)
    finish(database)
    assert command("runs", "cancel", str(run_id))[1] == f"the run {run_id} has ended already: succeeded\n"
    assert audited(database) == []


def test_a_run_that_failed_is_queued_again(command: Run, database: Database) -> None:
    run_id = submit(database)
    finish(database, "failed", Failure(reason="It failed."))
    assert command("runs", "retry", str(run_id), MAX_ATTEMPTS="7")[0] == 0
    with database.transaction() as tx:
        run = runs.find(tx, run_id)
    assert run is not None
    assert (run.status, run.max_attempts) == ("queued", 7)
    assert audited(database) == [("cli", "run.retried", str(run_id))]


def test_a_success_is_not_done_again(command: Run, database: Database) -> None:
    run_id = submit(database)
    finish(database)
    code, out, err = command("runs", "retry", str(run_id))
    assert (code, out) == (1, "")
    assert err.startswith("The run is succeeded")
    assert audited(database) == []


def test_without_a_url_the_commands_meet_in_the_database_of_the_project(tmp_path: Path) -> None:
    make_project(tmp_path)
    key, _ = start(tmp_path, "keys", "create", "alice").communicate(timeout=SECONDS)
    listed, _ = start(tmp_path, "keys", "list").communicate(timeout=SECONDS)
    assert key.split("_")[1] in listed
    assert (tmp_path / ".crewyard" / "postgres").is_dir()


def test_where_no_project_is_the_commands_ask_for_a_database(tmp_path: Path) -> None:
    process = start(tmp_path, "runs", "list")
    _, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 78
    assert "DATABASE_URL" in err
