"""The failure modes that can be seen in a project's files: what each is, what it leads to, and the usual edit."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Failure:
    """title: one line. why: what it does in production. edit: what to change, if the finding does not say it better."""

    title: str
    why: str
    edit: str


FAILURES = {
    "F01": Failure(
        "made at import and shared by all runs",
        "workers and threads share it: answers mix, token counts add up, and state of one user reaches the next",
        "make it inside a function that is called once a run, and keep no reference to it",
    ),
    "F02": Failure(
        "one object serves runs that go on at once",
        "a user gets another user's answer, or the run stops with 'executor is already running'",
        "build a new crew, agent or team for each run, from a function",
    ),
    "F03": Failure(
        "a required variable is looked up when it is needed",
        "a replica without it starts, takes requests and fails at the first one",
        "declare it as a required field of a settings class that is made when the process starts",
    ),
    "F04": Failure(
        "configuration is read at import",
        "the import crashes or freezes an old value where the variable comes later (a test, a secrets manager)",
        "declare it as a field of a settings class that the start of the process makes, and hand it to what needs it",
    ),
    "F05": Failure(
        "a fixed local path is written",
        "two runs overwrite each other's file, and a restart of the container loses it",
        "write below a directory of the run's own, and give back or upload what must last",
    ),
    "F06": Failure(
        "what is handed from step to step is not plain data",
        "it cannot be stored, resumed or sent to another process: a connection or a lock is bound to this one",
        "keep strings, numbers, lists, dicts and Pydantic models of those; open the connection where it is used",
    ),
    "F07": Failure(
        "threads without a bound",
        "with several workers a machine runs out of threads and memory",
        "give a small max_workers, or a semaphore around what is gathered",
    ),
    "F08": Failure(
        "something goes on without a limit",
        "one bad request keeps a worker busy and costs money until somebody notices",
        "give it a timeout and a largest number of attempts, turns or iterations",
    ),
    "F09": Failure(
        "a throttled model call fails the run",
        "a provider's 429 at a busy hour becomes an error for each user",
        "let the client try again a few times, with pauses that grow",
    ),
    "F10": Failure(
        "what one run has said is kept on a module, a class or in a cache",
        "the next run in this process sees another user's data, and another process sees nothing of it",
        "keep it on an object that is made for the run, or in a database under the run's or user's id",
    ),
    "F11": Failure(
        "the history of messages grows without a bound",
        "a long run gets slow and dear, and ends when the model's context is full",
        "keep the newest messages, or a summary, below a number of tokens",
    ),
    "F12": Failure(
        "a blocking call runs on the event loop",
        "while it waits, nobody else is served, the health check included",
        "await the async form, hand it to asyncio.to_thread, or make the endpoint a plain `def`",
    ),
    "F13": Failure(
        "something that belongs to an event loop outlives it",
        "in another loop or process it hangs or raises 'attached to a different loop'",
        "make it inside the coroutine or lifespan that uses it",
    ),
    "F14": Failure(
        "memory is not scoped to a user",
        "an answer tells one customer what another has said",
        "store and recall under the id of the user that the run is for",
    ),
    "F15": Failure(
        "what must last is on the container's disk",
        "a restart loses it and another replica knows nothing of it",
        "keep it in a database or an object store outside of the container",
    ),
    "F16": Failure(
        "agents may delegate to each other for ever",
        "a run costs its whole budget and gives no answer",
        "leave allow_delegation to one agent at most, the manager",
    ),
    "F17": Failure(
        "an output is handed on unchecked",
        "the next system takes what a model made up for an answer",
        "give the last task output_pydantic or a guardrail, and validate before it is used",
    ),
    "F18": Failure(
        "an error loses its cause",
        "nobody can tell which run failed and why",
        "let it pass, log it with its traceback and the run's id, or raise your own `from error`",
    ),
    "F19": Failure(
        "a run that nobody else knows of",
        "a restart or a killed worker loses it, and the user waits for ever",
        "record the run in a database and start it from a durable queue that gives it back when a worker dies",
    ),
    "F20": Failure(
        "the image is not what was tested",
        "another build resolves other packages, days old or malicious, and a break-out starts as root",
        "pin the base image, install from a lock file and run as a user of its own",
    ),
    "F21": Failure(
        "generated code runs outside of a sandbox",
        "what a model writes, or a prompt injection makes it write, reads the keys and files of the service",
        "run it in a container or a sandbox service without network and secrets, in a directory of the run's own",
    ),
    "F22": Failure(
        "a tool reaches whatever the model names",
        "a prompt injection reads internal addresses, files of the service or other customers' rows",
        "check the address, path or statement against a list of what is allowed before it is used",
    ),
    "F23": Failure(
        "a secret lies open",
        "whoever reads the repository, the image or the logs can use it",
        "take it out, revoke it, and give it to the process as a variable when it starts",
    ),
    "F24": Failure(
        "a run is started at import",
        "with a preloading server or a forking worker every child waits for threads that are not there",
        'start it from a function, or below `if __name__ == "__main__":`',
    ),
    "F25": Failure(
        "a heavy import stands at module level",
        "every replica, reload and worker starts seconds late",
        "import it inside the function that needs it, or only in the worker",
    ),
    "F26": Failure(
        "cost grows unseen",
        "nobody knows what a run has cost, and one that runs away is stopped by nobody",
        "record the tokens of each run (CrewAI: result.token_usage; AutoGen: models_usage) and end it at a budget",
    ),
    "P00": Failure(
        "the company's standards cannot be held",
        "nobody can tell whether the project keeps them",
        "bring .crewyard.yml up to date by `crewyard update`, or tell the owners of your company's template",
    ),
    "P01": Failure(
        "a model that your company does not allow",
        "no contract, price or review covers what it is sent",
        "take one that is allowed (`crewyard update --model-fast`, `--model-strong`), or ask the standards' owners",
    ),
    "P02": Failure(
        "a provider that your company does not allow",
        "what users write goes to somebody without a contract",
        "take one that is allowed, or ask the owners of your company's standards",
    ),
    "P03": Failure(
        "a guardrail that your company demands is missing",
        "an output leaves unchecked that should not",
        "give it to the last task, or call it on the output",
    ),
    "P04": Failure(
        "packages are taken sooner than your company allows",
        "a malicious release is installed before somebody finds it",
        "raise exclude-newer under [tool.uv] in pyproject.toml, then run `uv lock`",
    ),
    "P05": Failure(
        "a package that your company forbids",
        "it is known to be a risk, or has a licence that does not fit",
        "`uv remove` it; `uv tree --invert --package NAME` tells what asks for it",
    ),
}
