"""The commands `runs list`, `runs show`, `runs follow`, `runs cancel` and `runs retry`: what became of runs."""

import argparse
import json
import re
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import Row, select

from crewyard_runtime.cli.store import StoreCommand, on_store
from crewyard_runtime.settings import ServiceSettings
from crewyard_runtime.store import Database, audit, events, runs
from crewyard_runtime.store.schema import runs as table
from crewyard_runtime.terminal import command_name, moment, print_table, printable

if TYPE_CHECKING:
    from crewyard_runtime.api.views import Attempt, Run

EX_USAGE = 2
EX_INTERRUPTED = 130
LOOK_SECONDS = 0.5
MOST_LISTED = 1_000
MOST_EVENTS = 500  # a look
SHORTEST_ID = 4

OnRun = Callable[[Database, ServiceSettings, UUID, argparse.Namespace], int]


def add_commands(commands: Any) -> None:
    """Add `runs`."""
    group = commands.add_parser("runs", help="list, show, follow, cancel and retry runs")
    actions = group.add_subparsers(required=True, metavar="action")
    listed = actions.add_parser("list", help="show the newest runs")
    listed.add_argument("--status", choices=runs.STATUSES, help="only these")
    listed.add_argument("--limit", type=_limit, default=20, metavar="N", help="how many (default 20)")
    listed.set_defaults(command=on_store(_list))
    show = _add(actions, "show", "show all that is known of a run", _show)
    show.add_argument("--json", action="store_true", help="as JSON")
    _add(actions, "follow", "print what happens in a run until it ends; exit code 0 if it succeeds", _follow)
    _add(actions, "cancel", "end a run that is queued or running", _cancel)
    _add(actions, "retry", "queue a run again that ended without success", _retry)


def _add(actions: Any, name: str, help_text: str, do: OnRun) -> Any:
    parser = actions.add_parser(name, help=help_text)
    parser.add_argument("id", help=f"the run's id, or its first characters (at least {SHORTEST_ID})")
    parser.set_defaults(command=on_store(_with_id(do)))
    return parser


def _limit(text: str) -> int:
    number = int(text)
    if not 1 <= number <= MOST_LISTED:
        msg = f"{text} is not a number from 1 to {MOST_LISTED}"
        raise argparse.ArgumentTypeError(msg)
    return number


def _with_id(do: OnRun) -> StoreCommand:
    """The command for the one run that the argument means."""

    def run(arguments: argparse.Namespace, database: Database, service: ServiceSettings) -> int:
        digits = arguments.id.replace("-", "").lower()
        if not re.fullmatch(f"[0-9a-f]{{{SHORTEST_ID},32}}", digits):
            said = f"is no id of a run: give one that `runs list` shows, or at least its first {SHORTEST_ID} characters"
            print(f"{arguments.id[:40]!a} {said}.", file=sys.stderr)
            return EX_USAGE
        found = _find(database, digits)
        if len(found) == 1:
            return do(database, service, found[0], arguments)
        said = "There are several runs whose ids begin" if found else "There is no run whose id begins"
        print(f"{said} with {arguments.id!r}: `runs list` shows the ids.", file=sys.stderr)
        return 1

    return run


def _find(database: Database, digits: str) -> list[UUID]:
    """The runs, at most two, whose ids begin with these digits: a range of the primary key."""
    first, last = UUID(digits.ljust(32, "0")), UUID(digits.ljust(32, "f"))
    with database.transaction() as tx:
        return list(tx.execute(select(table.c.id).where(table.c.id.between(first, last)).limit(2)).scalars())


def _list(arguments: argparse.Namespace, database: Database, service: ServiceSettings) -> int:
    with database.transaction() as tx:
        found = runs.page(tx, None, arguments.status, size=arguments.limit).runs
    columns = ("id", "application", "status", "user", "attempts", "tokens", "created")
    print_table(columns, [_row(run) for run in found])
    return 0


def _row(run: Row[Any]) -> list[Any]:
    tokens = run.prompt_tokens + run.completion_tokens
    return [run.id, run.application, run.status, run.user_id or "", run.attempt, tokens, moment(run.created_at)]


def _show(database: Database, service: ServiceSettings, run_id: UUID, arguments: argparse.Namespace) -> int:
    run = _view(database, run_id)
    if run is None:
        return _gone(run_id)
    if arguments.json:
        print(json.dumps(run.model_dump(mode="json"), ensure_ascii=False))
    else:
        _print(run)
    return 0


def _follow(database: Database, service: ServiceSettings, run_id: UUID, arguments: argparse.Namespace) -> int:
    seen = 0
    try:
        while True:
            with database.transaction() as tx:
                # The run first: what is read after its end is all that happened in it.
                run = runs.find(tx, run_id)
                new = events.after(tx, run_id, seen, MOST_EVENTS)
            if run is None:
                return _gone(run_id)
            for event in new:
                seen = event.number
                _print_event(event)
            if len(new) == MOST_EVENTS:
                continue
            if run.status in runs.ENDED:
                break
            time.sleep(LOOK_SECONDS)
    except KeyboardInterrupt:
        print(f"The run goes on: `{command_name()} runs follow {run_id}` shows it from the beginning.", file=sys.stderr)
        return EX_INTERRUPTED
    ended = _view(database, run_id)
    if ended is not None:
        _print(ended)
    return 0 if run.status == "succeeded" else 1


def _cancel(database: Database, service: ServiceSettings, run_id: UUID, arguments: argparse.Namespace) -> int:
    with database.transaction() as tx:
        before = runs.find(tx, run_id)
        status = runs.cancel(tx, run_id)
        ended = before is None or before.status in runs.ENDED
        if not ended:
            audit.record(tx, "cli", "run.cancelled", str(run_id))
    said = "is running: its worker ends it now" if status == "running" else "is cancelled"
    print(f"the run {run_id} {f'has ended already: {status}' if ended else said}")
    return 0


def _retry(database: Database, service: ServiceSettings, run_id: UUID, arguments: argparse.Namespace) -> int:
    try:
        with database.transaction() as tx:
            runs.retry(tx, run_id, service.max_attempts)
            audit.record(tx, "cli", "run.retried", str(run_id))
    except runs.NotNow as refused:
        print(refused, file=sys.stderr)
        return 1
    print(f"the run {run_id} is queued again")
    return 0


def _gone(run_id: UUID) -> int:
    print(f"The run {run_id} is not there any more: it was pruned.", file=sys.stderr)
    return 1


def _view(database: Database, run_id: UUID) -> "Run | None":
    """The run as the gateway shows it."""
    from crewyard_runtime.api.views import Run

    with database.transaction() as tx:
        row = runs.find(tx, run_id)
        return None if row is None else Run.of(row, runs.attempts_of(tx, run_id))


def _print_event(event: Row[Any]) -> None:
    data = json.dumps(event.data, ensure_ascii=False) if event.data else ""
    print(printable(f"{moment(event.at)}  {event.kind}  {data}".rstrip()), flush=True)


def _print(run: "Run") -> None:
    facts = {
        "run": run.id,
        "application": run.application,
        "status": f"{run.status}, to be cancelled" if run.cancel_requested and run.status == "running" else run.status,
        "user": run.user_id,
        "request": run.request_id,
        "created": moment(run.created_at),
        "queued": moment(run.queued_at),
        "started": moment(run.started_at),
        "finished": moment(run.finished_at),
        "tokens": f"{_tokens(run)} in {run.model_calls} model calls",
        "cost": _cost(run),
        "error": run.error.reason if run.error else None,
        "input": json.dumps(run.input, ensure_ascii=False, indent=2),
        "output": None if run.output is None else json.dumps(run.output, ensure_ascii=False, indent=2),
    }
    for name, fact in facts.items():
        if fact:
            print(f"{name:<13}{printable(fact)}".replace("\n", "\n" + " " * 13))
    columns = ("attempt", "status", "worker", "started", "seconds", "tokens", "cost")
    print_table(columns, [_attempt_row(each) for each in run.attempts])
    for each in run.attempts:
        if each.error is not None:
            print(printable(f"attempt {each.number}: {each.error.reason}"))
            for link in each.error.chain:
                print(printable(f"  {link.type}: {link.message}" + (f" ({link.where})" if link.where else "")))


def _attempt_row(attempt: "Attempt") -> list[Any]:
    seconds = (attempt.finished_at - attempt.started_at).total_seconds() if attempt.finished_at else None
    shown = "" if seconds is None else f"{seconds:.2f}"
    started = moment(attempt.started_at)
    return [attempt.number, attempt.status, attempt.worker, started, shown, _tokens(attempt), _cost(attempt)]


def _tokens(used: "Run | Attempt") -> int:
    return used.prompt_tokens + used.completion_tokens


def _cost(used: "Run | Attempt") -> str:
    return "unknown" if used.cost_usd is None else f"{used.cost_usd:.6f} USD"
