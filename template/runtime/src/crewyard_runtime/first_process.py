"""The duties of a container's first process: it passes signals on, and buries the processes that nobody waits for.

The kernel gives orphans to process 1, and shields it from signals that it does not handle. So the command runs in a
child of it, and needs no init program in the image.
"""

import os
import signal
from contextlib import suppress

from crewyard_runtime.privacy import keep_private

PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def take_duties() -> None:
    """Return in a child process. This one stays, and ends as the child does: 128 and the number if a signal ended it.

    Call it before there are threads.
    """
    keep_private()  # its environment is the command's
    heard = {*PASSED_ON, signal.SIGCHLD}
    signal.pthread_sigmask(signal.SIG_BLOCK, heard)  # one that a handler took just before a wait would not end it
    child = os.fork()
    if child == 0:
        _lead_terminal()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, heard)
        return
    while True:
        number = signal.sigwait(heard)
        if number == signal.SIGCHLD:
            _bury_until(child)
        else:
            os.kill(child, number)


def _bury_until(child: int) -> None:
    """Wait for all that have ended; end as the child did, if it is one of them."""
    while (ended := os.waitpid(-1, os.WNOHANG))[0]:
        if ended[0] == child:
            code = os.waitstatus_to_exitcode(ended[1])
            os._exit(code if code >= 0 else 128 - code)


def _lead_terminal() -> None:
    """Let Ctrl-C go to the command alone: from the first process too, it would come twice."""
    os.setpgid(0, 0)
    if os.isatty(0):
        before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        with suppress(OSError):  # a terminal that sends nobody a signal
            os.tcsetpgrp(0, os.getpgrp())
        signal.signal(signal.SIGTTOU, before)
