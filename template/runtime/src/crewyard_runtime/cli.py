"""The command of a project: `check`, `run` and `demo`, under the project's own name."""

import argparse
import json
import logging
import os
import signal
import sys
from typing import Any, NoReturn

from crewyard_runtime.startup import EX_CONFIG, Startup, examine

EX_USAGE = 2
EX_INTERRUPTED = 130


def main() -> NoReturn:
    """Run the command line and exit: 0 done, 1 a run failed, 2 wrong usage, 78 not configured, 130 interrupted."""
    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("crewyard").setLevel(logging.INFO)
    arguments = _parser().parse_args()
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        code = arguments.command(arguments)
    except KeyboardInterrupt:
        print("interrupted: all runs were ended", file=sys.stderr)
        code = EX_INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    sys.exit(code)


def _interrupt(signum: int, frame: Any) -> NoReturn:
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Runs this project's agents.", allow_abbrev=False)
    commands = parser.add_subparsers(required=True, metavar="command")
    check = commands.add_parser("check", help="validate every setting; exit code 78 names all that is missing")
    check.set_defaults(command=_check)
    run = commands.add_parser("run", help="run inputs against the configured model provider, one JSON result a line")
    _batch_arguments(run)
    run.set_defaults(command=_run)
    demo = commands.add_parser("demo", help="run the examples against a model server of its own: no key, no network")
    _batch_arguments(demo)
    demo.set_defaults(command=_demo)
    return parser


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


def _check(arguments: argparse.Namespace) -> int:
    startup = examine()
    if startup.problems:
        return _refuse(startup)
    assert startup.settings is not None
    names = ", ".join(startup.applications)
    print(f"ready: {names} on {startup.settings.model_fast} and {startup.settings.model_strong}")
    return 0


def _run(arguments: argparse.Namespace) -> int:
    startup = examine()
    if startup.problems:
        return _refuse(startup)
    return _batch(arguments, startup, lambda result: print(json.dumps(result, ensure_ascii=False), flush=True))


def _demo(arguments: argparse.Namespace) -> int:
    from crewyard_runtime.demo import Demo
    from crewyard_runtime.testing.model_server import ModelServer

    logging.getLogger("crewyard").setLevel(logging.WARNING)
    with ModelServer() as server:
        startup = examine(Demo.settings(server.url))
        if startup.problems:
            return _refuse(startup)
        demo = Demo()
        code = _batch(arguments, startup, demo.add_result, demo)
    demo.show()
    return code


def _batch(arguments: argparse.Namespace, startup: Startup, show: Any, demo: Any = None) -> int:
    from crewyard_runtime.application import NoApplication, find_application
    from crewyard_runtime.batch import Batch, NoInput, read_lines
    from crewyard_runtime.execution import Runner, RunnerNotReady

    assert startup.settings is not None
    try:
        application = find_application(arguments.application)
        lines = demo.lines(application) if demo and arguments.input is None else read_lines(arguments.input)
        runner = Runner(startup.settings, list(startup.applications.values()))
        runner.start()
    except (NoApplication, NoInput) as error:
        print(error, file=sys.stderr)
        return EX_USAGE
    except (RunnerNotReady, OSError) as error:
        print(f"not ready: {error}", file=sys.stderr)
        return 1
    batch = Batch(
        runner,
        application,
        startup.settings,
        startup.application_settings[application.name],
        parallel=arguments.parallel,
        with_tools=not arguments.no_tools,
        keep=arguments.keep,
        on_event=demo.add_event if demo else None,
    )
    failed = 0
    for count, result in enumerate(batch.run(lines), 1):
        failed += result["status"] != "succeeded"
        show(result)
        print(f"[{count}/{len(lines)}] {_progress(result)}", file=sys.stderr, flush=True)
    return 1 if failed else 0


def _progress(result: dict[str, Any]) -> str:
    said = f"line {result['line']} {result['status']}"
    if result["run_id"]:
        tokens = result["usage"]["prompt_tokens"] + result["usage"]["completion_tokens"]
        said += f" in {result['seconds']:.1f} s, {tokens} tokens, run {result['run_id']}"
    return f"{said}: {result['error']['reason']}" if result["error"] else said


def _refuse(startup: Startup) -> int:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="Not ready to start", title_justify="left")
    table.add_column("name", no_wrap=True)
    table.add_column("problem")
    table.add_column("example")
    for problem in startup.problems:
        table.add_row(problem.name, problem.problem, problem.example)
    console = Console(stderr=True, markup=False, highlight=False)
    console.width = max(console.width, 120)
    console.print(table)
    return EX_CONFIG
