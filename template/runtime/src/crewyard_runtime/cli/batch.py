"""The command `run`: a batch of inputs, one JSON result a line."""

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from crewyard_runtime.cli.check import refuse
from crewyard_runtime.errors import NotReady
from crewyard_runtime.startup import Startup, examine

if TYPE_CHECKING:
    from crewyard_runtime.batch import Batch, Line

EX_USAGE = 2


def add_commands(commands: Any) -> None:
    """Add `run`."""
    run = commands.add_parser("run", help="run inputs against the configured model provider, one JSON result a line")
    _batch_arguments(run)
    run.set_defaults(command=_run)


def _batch_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", nargs="?", help="a file of JSON lines, one JSON object, or - for standard input")
    parser.add_argument("--application", metavar="NAME", help="which application, where a project declares several")
    parser.add_argument("--parallel", type=_positive, default=1, metavar="N", help="runs at the same time (default 1)")
    parser.add_argument("--no-tools", action="store_true", help="take the tools away: is one of them to blame?")
    parser.add_argument("--keep", action="store_true", help="keep the workspace of each run")


def _positive(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 64:
        msg = f"{text} is not a number from 1 to 64"
        raise argparse.ArgumentTypeError(msg)
    return number


def _run(arguments: argparse.Namespace) -> int:
    startup = examine()
    if startup.problems:
        return refuse(startup)
    return _batch(arguments, startup)


def _batch(arguments: argparse.Namespace, startup: Startup) -> int:
    from crewyard_runtime.application import NoApplication, find_application
    from crewyard_runtime.batch import Batch, NoInput, read_lines
    from crewyard_runtime.cli.database import open_database
    from crewyard_runtime.execution import Runner, RunnerNotReady

    assert startup.settings is not None
    assert startup.service is not None
    try:
        application = find_application(arguments.application)
        lines = read_lines(arguments.input)
    except (NoApplication, NoInput) as error:
        print(error, file=sys.stderr)
        return EX_USAGE
    settings = startup.application_settings[application.name]
    try:
        with open_database(startup.service, startup.settings, arguments.parallel + 2) as opened:
            runner = Runner(opened.settings, list(startup.applications.values()))
            runner.start()
            batch = Batch(
                opened.database,
                runner,
                application,
                opened.settings,
                settings,
                parallel=arguments.parallel,
                with_tools=not arguments.no_tools,
                keep=arguments.keep,
            )
            return _print_results(batch, lines)
    except (RunnerNotReady, OSError) as error:
        raise NotReady(str(error)) from error


def _print_results(batch: "Batch", lines: "list[Line]") -> int:
    failed = 0
    for count, result in enumerate(batch.run(lines), 1):
        failed += result["status"] != "succeeded"
        print(json.dumps(result, ensure_ascii=False), flush=True)
        print(f"[{count}/{len(lines)}] {_progress(result)}", file=sys.stderr, flush=True)
    return 1 if failed else 0


def _progress(result: dict[str, Any]) -> str:
    said = f"line {result['line']} {result['status']}"
    if result["run_id"]:
        tokens = result["usage"]["prompt_tokens"] + result["usage"]["completion_tokens"]
        said += f" in {result['seconds']:.1f} s, {tokens} tokens, run {result['run_id']}"
    return f"{said}: {result['error']['reason']}" if result["error"] else said
