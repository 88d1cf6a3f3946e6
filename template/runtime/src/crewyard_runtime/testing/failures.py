"""The failure modes that the scaling tests guard against, as data: what a failing test tells its reader."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from crewyard_runtime.errors import BuildRefused, ErrorLink, InvalidOutput, MemoryOnDisk, OutsideSandbox
from crewyard_runtime.execution import Outcome
from crewyard_runtime.execution.messages import Failure

MOST = 12  # findings that one failing test tells


@dataclass(frozen=True)
class FailureMode:
    """leads_to: what it does in production. cure: what to do about it. not_yet: what of it no test looks for."""

    title: str
    leads_to: str
    cure: str
    not_yet: str = ""


FAILURE_MODES = {
    "F01": FailureMode(
        "an agent, task, crew, team, model client or tool outlives its run",
        "workers share it: answers mix, token counts add up, and state of one user reaches the next",
        "make it inside the build function, each time it is called, and keep no reference to it",
    ),
    "F02": FailureMode(
        "runs that go on at once mix",
        "a user gets another user's answer, or the run stops: the executor, or the team, 'is already running'",
        "make everything for one run from the RunContext, and put nothing on a module or a class",
    ),
    "F03": FailureMode(
        "a variable that the application needs is not known to the startup validation",
        "a replica without it starts, takes requests and fails at the first one",
        "declare it as a field of Settings and read it from run.settings; a model's key comes with run.llm(...)",
    ),
    "F04": FailureMode(
        "configuration is read from the environment at import",
        "the import crashes or freezes an old value where the variable comes later (a test, a secrets manager)",
        "declare it as a field of Settings and read it from run.settings when it is needed; a model's key comes with "
        "run.llm(...)",
    ),
    "F05": FailureMode(
        "a run writes outside its workspace",
        "two runs overwrite each other's file, and a restart of the container loses it",
        "write below run.workspace, and give back what must last as the run's output",
    ),
    "F06": FailureMode(
        "what is handed from step to step is not plain data",
        "it cannot be stored, resumed or sent to another process: a connection or a lock is bound to this one, and "
        "what holds one cannot be pickled",
        "hand over strings, numbers, lists, dicts and Pydantic models of those; open the connection where it is used",
    ),
    "F07": FailureMode(
        "a tool starts threads without a bound",
        "with several workers a machine runs out of threads and memory",
        "use at most run.limits.tool_concurrency workers",
    ),
    "F08": FailureMode(
        "something goes on without a limit",
        "one bad ticket keeps a worker busy and costs money until somebody notices",
        "take each model from run.llm(...), bounds like max_iter and max_turns from run.limits, and end loops of your "
        "own at run.deadline",
    ),
    "F09": FailureMode(
        "a throttled model call fails the run",
        "a provider's 429 at a busy hour becomes an error for each user, and a storm of new requests",
        "take the model client from run.llm(...), which tries again with growing pauses, and catch nothing around it",
    ),
    "F10": FailureMode(
        "what one run has said is kept on a module, a class or in a cache",
        "the next run in this process answers with another user's data",
        "keep it in the build function, on the objects that it makes, or in run.memory",
    ),
    "F11": FailureMode(
        "the history of messages grows without a bound",
        "a long run gets slow and dear, and ends when the model's context is full",
        "leave max_iter and the history to run.limits, and let nothing send messages past the runtime's hooks",
    ),
    "F12": FailureMode(
        "a blocking call runs on the event loop",
        "one slow call stops all that the loop serves: a gateway with its health check, a run with its other steps",
        "make what waits a plain `def`, or await it: asyncio.sleep, httpx.AsyncClient, asyncio.to_thread",
    ),
    "F13": FailureMode(
        "a client, a connection or a part of an event loop is used where it was not made",
        "the next run has a loop and a process of its own: 'Event loop is closed', 'attached to a different loop', or "
        "two processes on one socket",
        "make it inside the build function or the tool's call, and close it there; `run.http` is made for the run",
    ),
    "F14": FailureMode(
        "what is known about one user reaches another",
        "an answer tells one customer what another has said",
        "remember by run.memory alone, which is bound to the run's user; no store, dictionary or file of your own",
    ),
    "F15": FailureMode(
        "what must last is on the container's disk",
        "a restart or another replica knows nothing of it",
        "remember by run.memory, and give back what must last as the run's output",
        not_yet="files that a run gives back",
    ),
    "F16": FailureMode(
        "agents delegate to each other for ever",
        "a run costs its whole budget and gives no answer",
        "leave delegation and handoffs to the runtime's guard, and give each agent a task of its own",
    ),
    "F17": FailureMode(
        "an output that is not what the application promises is handed on",
        "the next system takes it for an answer",
        "let the last agent answer in the output model (CrewAI: output_pydantic), and what does not fit fail the run",
        not_yet="personal data",
    ),
    "F18": FailureMode(
        "an error loses its cause or its run",
        "nobody can tell which run failed and why",
        "let exceptions pass, or raise your own `from error`; log with run.log",
    ),
    "F19": FailureMode(
        "a run gets lost, or done without an end",
        "a user waits for ever, or a poison run takes down one worker after the other",
        "leave claims, leases and their fence to crewyard_runtime.store.runs, and run one worker a process",
    ),
    "F20": FailureMode(
        "what is installed is not locked, is hours old, or runs as root",
        "two replicas differ, a package that was taken over yesterday gets in, and whoever breaks out owns the node",
        "keep `exclude-newer` in pyproject.toml and uv.lock in git; in an image `uv sync --locked`, and a USER",
    ),
    "F21": FailureMode(
        "generated code runs outside of a sandbox",
        "a prompt injection becomes a shell on your machine, with what the worker may do",
        "give agents tools that do one thing; let code of a model be executed by run.code_executor() alone, which has "
        "the sandbox that code_execution names",
    ),
    "F22": FailureMode(
        "a tool reaches where it should not: an internal address, a file, a table",
        "a prompt injection reads your metadata service, your disk or your customers",
        "fetch by run.http, which refuses internal addresses, and write below run.workspace",
        not_yet="tools' network and SQL",
    ),
    "F23": FailureMode(
        "a secret is where it does not belong: in the code, in a log, in a prompt, in a run that does not need it",
        "who reads the repository, a log or a trace has it, and a prompt injection asks for it",
        "take secrets from the environment by a SecretStr field of Settings, log none, and keep what the service needs "
        "out of Settings: ServiceSettings has it, which no run receives",
    ),
    "F24": FailureMode(
        "something was started before the fork",
        "every forked run waits for threads that are not there, and hangs",
        "start no crew, client or thread at import",
    ),
    "F25": FailureMode(
        "a heavy import stands at module level",
        "every process starts late: gateways, workers after a crash, and each new replica",
        "import it inside the function that needs it",
    ),
    "F26": FailureMode(
        "cost grows unseen",
        "nobody knows what a run has cost, and one that runs away is stopped by nobody",
        "take every model client from run.llm(...): its calls are counted, and end at the budget; give simple steps "
        '"fast", or set MODEL_FAST to the model of MODEL_STRONG if each step needs it',
    ),
}


@dataclass(frozen=True)
class Finding:
    """Something that was seen, and the line of the project's code it comes from, if that is known."""

    what: str
    where: str | None = None

    def __str__(self) -> str:
        return f"{self.what} ({self.where})" if self.where else self.what


def guard(failure: str, findings: Sequence[Finding | str]) -> None:
    """Fail the test with the whole story if anything was found. Raises AssertionError."""
    if not findings:
        return
    told = list(dict.fromkeys(map(str, findings)))
    more = [f"and {len(told) - MOST} more"] if len(told) > MOST else []
    seen = "\n".join(f"  - {each}" for each in [*told[:MOST], *more])
    raise AssertionError(story(failure, f"seen:\n{seen}\n"))


def story(failure: str, seen: str = "") -> str:
    """What a failure is, what was seen of it, what it leads to and what to do."""
    mode = FAILURE_MODES[failure]
    return f"{failure}: {mode.title}\n{seen}in production: {mode.leads_to}\nwhat to do: {mode.cure}"


# What an error of the runtime itself says about the application.
_OF_ERRORS: dict[type[Exception], str] = {MemoryOnDisk: "F15", OutsideSandbox: "F21", BuildRefused: "F08"}


# What a framework, OpenAI's SDK or Python says where one of the failures is the cause. No AutoGen of today raises an
# InvalidConfigError; who reads of it finds it here.
_OF_MESSAGES = {
    "InvalidConfigError": "F03",
    "Missing credentials": "F03",
    "api_key client option must be set": "F03",
    "cannot pickle": "F06",
    "Can't pickle": "F06",
    "Code execution is set to be run in docker": "F21",
    "from within a running event loop": "F12",
    "cannot be called from a running event loop": "F12",
    "attached to a different loop": "F13",
    "bound to a different event loop": "F13",
    "Event loop is closed": "F13",
    "client has been closed": "F13",
    "is already running": "F02",
}


def failure_of(links: Sequence[ErrorLink]) -> str | None:
    """The failure that a chain of errors says something of, if there is one."""
    said = [f"{link.type}: {link.message}" for link in links]
    return next((failure for words, failure in _OF_MESSAGES.items() if any(words in each for each in said)), None)


def guard_started(outcomes: Sequence[Outcome]) -> None:
    """Fail the test as F08 or F15 if a run did not start, because of what was built. Raises AssertionError."""
    _guard_errors([outcome.error for outcome in outcomes if outcome.error], _OF_ERRORS)


def guard_succeeded(outcomes: Sequence[Outcome]) -> None:
    """Fail the test if a run did not succeed, with the reason of the first. Raises AssertionError."""
    guard_ends([(outcome.status, outcome.error) for outcome in outcomes])


def guard_ends(ends: Sequence[tuple[str, Failure | None]]) -> None:
    """The same of runs by how they ended: a status and an error."""
    _guard_errors([error for _, error in ends if error], {**_OF_ERRORS, InvalidOutput: "F17"})
    late = [f"a run did not end: {error.reason}" for status, error in ends if error and _is_late(status, error)]
    guard("F08", late)
    failed = [(status, error) for status, error in ends if status != "succeeded"]
    if failed:
        status, error = failed[0]
        msg = f"{len(failed)} of {len(ends)} runs ended as {status}: {error}"
        raise AssertionError(msg)


def _is_late(status: str, error: Failure) -> bool:
    return status == "timed_out" or "The run's deadline of" in error.reason


def _guard_errors(errors: Sequence[Failure], failures: Mapping[type[Exception], str]) -> None:
    for kind, failure in failures.items():
        name = f"{kind.__module__}.{kind.__qualname__}"
        guard(failure, [error.reason for error in errors if any(link.type == name for link in error.chain)])
    for words, failure in _OF_MESSAGES.items():
        guard(
            failure,
            [error.reason for error in errors if any(words in f"{link.type}: {link.message}" for link in error.chain)],
        )
