"""The command `dev`: the whole service in one terminal, for whoever works on a project."""

import argparse
import sys
from contextlib import ExitStack, suppress
from typing import Any

from crewyard_runtime.cli.check import refuse
from crewyard_runtime.cli.database import data_directory, stands_in
from crewyard_runtime.providers import PROVIDERS
from crewyard_runtime.startup import Startup, examine, examine_database
from crewyard_runtime.terminal import printable, readable_log

MOST_WORKERS = 16
KEY_FILE = "dev-key"


def add_commands(commands: Any) -> None:
    """Add `dev`."""
    dev = commands.add_parser("dev", help="serve everything in this terminal: servers, gateway, workers, a model")
    dev.add_argument("--workers", type=_workers, default=2, metavar="N", help="workers (default 2)")
    dev.add_argument("--port", type=_port, default=8000, help="the gateway's port (default 8000)")
    dev.set_defaults(command=_dev)


def _workers(text: str) -> int:
    return _number(text, 1, MOST_WORKERS)


def _port(text: str) -> int:
    return _number(text, 1, 65_535)


def _number(text: str, low: int, high: int) -> int:
    number = int(text)
    if not low <= number <= high:
        msg = f"{text} is not a number from {low} to {high}"
        raise argparse.ArgumentTypeError(msg)
    return number


def _dev(arguments: argparse.Namespace) -> int:
    try:
        return _serve(arguments)
    except KeyboardInterrupt:
        _tell("everything has ended")
        return 0


def _serve(arguments: argparse.Namespace) -> int:
    from crewyard_runtime.dev import first_steps, make_key
    from crewyard_runtime.stack import check_port, model_server_settings, serve
    from crewyard_runtime.testing.model_server import ModelServer

    check_port(arguments.port)
    notes: list[str] = []
    overrides: dict[str, Any] = {"workers": arguments.workers}
    chosen = examine_database().service
    if chosen is not None and chosen.auth == "oidc":
        overrides["auth"] = "api-keys"
        notes.append(f"Elsewhere callers bring a token of {chosen.oidc_issuer}; here the gateway takes an API key.")
    with ExitStack() as stack:
        startup = examine(overrides)
        if _lacks_every_key(startup):
            server = stack.enter_context(ModelServer())
            overrides |= model_server_settings(server.url)
            notes.append("No model key is set, so a model server stands in for the provider: its answers are made up.")
            startup = examine(overrides)
        if startup.problems or startup.service is None or startup.settings is None:
            return refuse(startup)
        data = data_directory()
        print(f"starting a gateway and {arguments.workers} worker{'s'[: arguments.workers - 1]} ...", flush=True)
        service = stack.enter_context(
            serve(
                startup.service,
                startup.settings,
                data,
                overrides,
                port=arguments.port,
                workers=arguments.workers,
                show=_show,
            )
        )
        notes += filter(None, [stands_in(startup.settings, service.settings)])
        try:
            key = make_key(service.database, data / KEY_FILE)
            print("\n".join(["", *notes, *first_steps(service, key, startup.applications), ""]), flush=True)
            child = service.children.watch()
        except KeyboardInterrupt:
            grace = f"{startup.service.grace_seconds:g} seconds"
            _tell(f"ending: a run that goes on has {grace}, and another Ctrl-C hands it back at once")
            raise
        print(f"{service.children.why_ended(child)} Everything else is ended too.", file=sys.stderr)
        return 1


def _lacks_every_key(startup: Startup) -> bool:
    variables = {provider.key for provider in PROVIDERS.values()}
    settings = startup.settings
    if settings is None or not any(problem.name in variables for problem in startup.problems):
        return False
    return not any(settings.api_key(model) for model in (settings.model_fast, settings.model_strong))


def _tell(sentence: str) -> None:
    # After a hang-up there is no terminal any more.
    with suppress(OSError):
        print(sentence, flush=True)


def _show(name: str, line: str) -> None:
    shown = printable(readable_log(line)).splitlines() if sys.stdout.isatty() else [line]
    print("\n".join(f"{name} | {part}" for part in shown), flush=True)
