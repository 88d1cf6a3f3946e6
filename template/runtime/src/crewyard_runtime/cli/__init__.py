"""The command of a project, under the project's own name: validate, run, serve, look into runs."""

import os
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line and exit: 0 done, 1 it failed, 2 wrong usage, 78 not configured, 130 interrupted."""
    # The process of each run imports again what its parent was started with (multiprocessing does), so this module must
    # be light: with the commands and what they need it cost each run 0.2 s.
    if os.getpid() == 1:
        from crewyard_runtime.first_process import take_duties

        take_duties()
    from crewyard_runtime.cli.command import run_command

    run_command()
