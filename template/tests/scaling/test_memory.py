"""What is known about a user outlives processes and servers, and reaches nobody else."""

import itertools
import shutil
from typing import Any
from uuid import UUID

import pytest
from crewyard_runtime import Application
from crewyard_runtime.store import events
from crewyard_runtime.testing.failures import guard, guard_ends
from crewyard_runtime.testing.inputs import marked_inputs, new_canary
from crewyard_runtime.testing.memories import Memories
from crewyard_runtime.testing.model_server import ModelServer
from crewyard_runtime.testing.servers import Postgres
from crewyard_runtime.testing.service import Service, ends, until
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from sqlalchemy import text

soak = pytest.mark.soak
WILD = ["*", "%", "", " ", "a b", "ada*", "ada|bob", "ada,bob", "a" * 129, ["ada", "bob"], {"ne": ""}, 7]


def skip_unless_remembered(service: Service) -> None:
    """Skip the test where the faulty application has no memory."""
    if service.environment["MEMORY"] == "none":
        pytest.skip("this project remembers nothing, or by its framework, which the faulty application has not")


@pytest.fixture
def remembering(standing_service: Service) -> Service:
    """The session's service of the faulty application; its users are a test's own if they are named for it."""
    skip_unless_remembered(standing_service)
    return standing_service


@pytest.fixture
def user() -> str:
    """A user that no other test knows."""
    return f"user-{new_canary()}"


def ask(service: Service, user_id: str, then: str, words: str, where: str = "here") -> list[str]:
    """What a run of this user remembers or recalls."""
    [run_id] = service.submit({"then": then, "text": words, "where": where}, user_id=user_id)
    return found(service, run_id)


def found(service: Service, run_id: UUID) -> list[str]:
    """What a run came back with."""
    run = service.until_ended([run_id])[run_id]
    guard_ends(ends([run]))
    return list(run.output["found"])


def kinds(service: Service, run_id: UUID) -> list[str]:
    """The kinds of a run's events."""
    with service.database.transaction() as tx:
        return [event.kind for event in events.after(tx, run_id, 0)]


def guard_told(service: Service, *ids: UUID) -> None:
    """Fail as F18 unless one of the runs tells that its memory failed or was late."""
    told = {kind for run_id in ids for kind in kinds(service, run_id)}
    guard("F18", [] if {"memory.late", "memory.failed"} & told else ["no run tells that its memory did not work"])


@pytest.mark.guards("F14", "F15")
def test_agents_know_their_user_and_no_other(
    own_service: Service, application: Application, model_server: ModelServer
) -> None:
    service = own_service
    if service.environment["MEMORY"] == "none":
        pytest.skip("this project remembers nothing")
    if marked_inputs(application, 1)[0][0] is None:
        pytest.skip("no field of the input holds a text, by which the memory is asked")
    memories = Memories.of_service(service)
    facts = {user: f"the code word of {user} is {new_canary()}" for user in ("ada", "bob")}
    for user, fact in facts.items():
        kept = memories.of(user).remember(fact)
        guard("F15", [] if kept else [f"what {user} says is not kept: {memories.reported[-1:]}"])
    own: dict[str, set[str | None]] = {user: {fact.split()[-1]} for user, fact in facts.items()}
    for round_ in (1, 2):  # in the second, what the application itself has remembered would show
        seen = len(model_server.requests)
        ids = {}
        for user, (canary, data) in zip(facts, marked_inputs(application, 2), strict=True):
            own[user].add(canary)
            [ids[user]] = service.submit(data, application=application.name, user_id=user)
        ended = service.until_ended(ids.values(), seconds=120)
        guard_ends(ends(ended.values()))
        prompts = [str(request["body"]) for request in model_server.requests[seen:]]
        for user, other in (("ada", "bob"), ("bob", "ada")):
            mixed = [prompt for prompt in prompts if carries(prompt, own[user]) and carries(prompt, own[other])]
            guard("F14", [f"{len(mixed)} prompts tell of {user} and of {other}, in round {round_}"] if mixed else [])
            output = str(ended[ids[user]].output)
            guard("F14", [f"{user}'s result tells what {other} has said"] if carries(output, own[other]) else [])
            told = any(facts[user] in prompt for prompt in prompts)
            guard("F15", [] if told else [f"{user}'s agents are not told what is known about {user}"])


def carries(said: str, canaries: set[str | None]) -> bool:
    """Whether a text carries one of the canaries."""
    return any(canary in said for canary in canaries if canary)


@pytest.mark.guards("F14", "F15")
@pytest.mark.parametrize("where", ["here", pytest.param("thread", marks=soak), pytest.param("fork", marks=soak)])
def test_runs_ask_for_another_users_facts(remembering: Service, user: str, where: str) -> None:
    service, other = remembering, f"another-{user}"
    canary = new_canary()
    [id] = ask(service, user, "remember", f"the code word is {canary}", where)
    guard("F15", [] if id else ["what a run remembers is not kept"])
    leaked = [each for each in ask(service, other, "recall", "the code word", where) if canary in each]
    guard("F14", [f"a run of another user recalls {each!r}" for each in leaked])
    kept = [each for each in ask(service, user, "recall", "the code word", where) if canary in each]
    guard("F15", [] if kept else ["the user's own run does not recall it"])


@soak
@pytest.mark.guards("F14", "F15")
def test_forty_users_on_four_workers(make_service: Any) -> None:
    service = make_service({"LIMITS__RECALL_SECONDS": "20", "LIMITS__REMEMBER_SECONDS": "20"})
    service.use_project_memory()
    skip_unless_remembered(service)
    service.start_workers(4)
    facts = {f"user-{number}": f"the code word is {new_canary()}" for number in range(40)}
    writing = {user: service.submit({"then": "remember", "text": fact}, user_id=user) for user, fact in facts.items()}
    service.until_ended([run_id for [run_id] in writing.values()], seconds=120)
    reading = {user: service.submit({"then": "recall", "text": "code word"}, user_id=user) for user in facts}
    service.until_ended([run_id for [run_id] in reading.values()], seconds=120)
    for user, [run_id] in reading.items():
        said = "\n".join(found(service, run_id))
        guard("F14", [f"{user} knows that {fact}" for other, fact in facts.items() if other != user and fact in said])
        guard("F15", [] if facts[user] in said else [f"{user} does not know that {facts[user]}"])


@pytest.mark.guards("F15")
def test_memory_outlives_workers_servers_and_directories(remembering: Service, user: str, postgres: Postgres) -> None:
    service = remembering
    ask(service, user, "remember", "lives in Oslo")
    for worker in service.workers:
        service.kill(worker)
    shutil.rmtree(service.environment["WRITABLE_DIR"])
    postgres.restart()
    service.stand(workers=2)
    recalled = ask(service, user, "recall", "Where is home?")
    guard("F15", [] if "lives in Oslo" in recalled else [f"all that is recalled is {recalled}"])


@pytest.mark.guards("F14")
@pytest.mark.parametrize("user_id", WILD, ids=repr)
def test_a_wild_user_has_no_memory(memories: Memories, user_id: Any) -> None:
    try:
        memories.open(user_id)
    except (ValueError, TypeError):
        return
    guard("F14", [f"{user_id!r} is taken for a user, and a store may take it for several"])


@pytest.mark.guards("F14")
def test_a_run_that_is_nobodys_knows_nothing(memories: Memories) -> None:
    memories.of("ada").remember("ada lives in Oslo")
    guard("F15", [] if memories.of("ada").all() else ["what ada has said is not kept"])
    nobodys = memories.open(None)
    known = [nobodys.remember("lost"), *nobodys.all(), *nobodys.recall("ada")]
    guard("F14", [f"a run that is nobody's knows {each}" for each in known if each is not None])


class Users(RuleBasedStateMachine):
    """Users at random, each thing they remember with a canary of its own."""

    memories: Memories
    numbers = itertools.count()

    def __init__(self) -> None:
        super().__init__()
        round_ = next(self.numbers)
        self.users = [f"user:{round_}.{number}@example" for number in range(4)]
        self.known: dict[str, dict[str, str]] = {user: {} for user in self.users}

    def teardown(self) -> None:
        """No connection stays open."""
        self.memories.close()

    @rule(user=st.integers(0, 3), words=st.text(max_size=40))
    def remember(self, user: int, words: str) -> None:
        """Keep a canary."""
        name = self.users[user]
        fact = f"{new_canary()} of {name} {words}"
        kept = self.memories.of(name).remember(fact)
        guard("F15", [] if kept else [f"what {name} says is not kept: {self.memories.reported[-1:]}"])
        self.known[name][str(kept)] = fact

    @rule(asking=st.integers(0, 3), about=st.integers(0, 3), limit=st.integers(1, 20))
    def recall(self, asking: int, about: int, limit: int) -> None:
        """Ask for another's."""
        name = self.users[asking]
        recalled = self.memories.of(name).recall(f"canary of {self.users[about]}", limit)
        guard("F14", [f"{name} recalls {each}" for each in recalled if each.id not in self.known[name]])
        missing = min(limit, len(self.known[name])) - len(recalled)
        guard("F15", [f"{missing} of {name}'s memories are not found"] if missing else [])

    @rule(asking=st.integers(0, 3), about=st.integers(0, 3))
    def forget(self, asking: int, about: int) -> None:
        """Try to delete another's, and one's own."""
        name, other = self.users[asking], self.users[about]
        for id in list(self.known[other])[:1]:
            deleted = self.memories.of(name).forget(id)
            guard("F14", [f"{name} deletes a memory of {other}"] if deleted and name != other else [])
            if name == other:
                guard("F14", [] if deleted else [f"{name} cannot delete a memory of their own"])
                del self.known[name][id]

    @invariant()
    def everybody_has_their_own(self) -> None:
        """All of it, and nothing else."""
        for name in self.users:
            there = {each.id for each in self.memories.of(name).all()}
            guard("F14", [f"{name} has the memory {id}" for id in there - set(self.known[name])])
            guard("F15", [f"{name} has lost the memory {id}" for id in set(self.known[name]) - there])


@pytest.mark.guards("F14", "F15")
@pytest.mark.parametrize(
    ("examples", "steps"), [(4, 25), pytest.param(100, 100, marks=soak)], ids=["100 steps", "10,000 steps"]
)
def test_many_users_at_random(memories: Memories, examples: int, steps: int) -> None:
    Users.memories = memories
    chosen = settings(max_examples=examples, stateful_step_count=steps, deadline=None, database=None, derandomize=False)
    run_state_machine_as_test(Users, settings=chosen)


FAULTS = ["error", *(pytest.param(kind, marks=soak) for kind in ("slow", "rate_limit", "broken_json", "drop", "empty"))]


@pytest.mark.guards("F18")
@pytest.mark.parametrize("fault", FAULTS)
def test_a_run_goes_on_while_embeddings_fail(remembering: Service, user: str, faults: ModelServer, fault: str) -> None:
    faults.fail(fault, times=1_000, **({"seconds": 30} if fault == "slow" else {}))
    [run_id] = remembering.submit({"then": "recall", "text": "anything"}, user_id=user)
    recalled = found(remembering, run_id)
    guard("F14", [f"a user who has said nothing is told {recalled}"] if recalled != [""] else [])
    guard_told(remembering, run_id)


FULL = (
    "CREATE OR REPLACE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS "
    "$$ BEGIN RAISE EXCEPTION 'No space left on device' USING ERRCODE = '53100'; END $$; "
    "CREATE TRIGGER full_disk BEFORE INSERT ON memories EXECUTE FUNCTION full_disk()"
)
STORE_FAULTS = [
    pytest.param(
        "REVOKE SELECT ON memories FROM crewyard_memory", "GRANT SELECT ON memories TO crewyard_memory", id="no rights"
    ),
    pytest.param(FULL, "DROP TRIGGER full_disk ON memories", id="disk full", marks=soak),
    pytest.param(
        "ALTER TABLE memories RENAME TO elsewhere",
        "ALTER TABLE elsewhere RENAME TO memories",
        id="no table",
        marks=soak,
    ),
]


@pytest.mark.guards("F18")
@pytest.mark.parametrize(("fault", "mended"), STORE_FAULTS)
def test_a_run_goes_on_while_the_store_fails(remembering: Service, user: str, fault: str, mended: str) -> None:
    service = remembering
    if service.environment["MEMORY"] != "pgvector":
        pytest.skip("the faults are made in Postgres, and this memory is elsewhere")
    memories = Memories.of_service(service)
    ask(service, user, "remember", "before")
    memories.owner_does(fault)
    try:
        ids = [service.submit({"then": then, "text": "meanwhile"}, user_id=user)[0] for then in ("remember", "recall")]
        ended = service.until_ended(ids)
    finally:
        memories.owner_does(mended)
    guard_ends(ends(ended.values()))
    guard_told(service, *ids)
    until("the memory being back", lambda: "before" in ask(service, user, "recall", "before") or None)


@soak
@pytest.mark.guards("F18")
def test_a_slow_store_delays_a_run_by_no_more_than_its_limit(remembering: Service, user: str) -> None:
    service = remembering
    if service.environment["MEMORY"] != "pgvector":
        pytest.skip("the fault is made in Postgres, and this memory is elsewhere")
    ask(service, user, "remember", "before")
    with service.database.transaction() as tx:
        tx.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        tx.execute(text("LOCK TABLE memories"))
        [run_id] = service.submit({"then": "recall", "text": "meanwhile"}, user_id=user)
        run = service.until_ended([run_id], seconds=20)[run_id]
    guard_ends(ends([run]))
    guard_told(service, run_id)
