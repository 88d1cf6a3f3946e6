"""The program above code that is executed on this machine: sets its limits, watches it, and leaves nothing of it.

It is started by `local.py` with `python -I -S`, in the directory and the environment of the code. Standard input is a
socket: an order comes in by it as a line of JSON, the report goes out by it, and when it is closed all is over. It
imports the standard library alone, and has no threads.

As root it stays root, so that the code, which then is somebody else, cannot end it. As anybody else the code can, and
what it leaves behind is its starter's child.
"""

import ctypes
import json
import os
import resource
import select
import shutil
import signal
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

POLL_SECONDS = 0.1
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
OPEN_FILES = 256
FILE_BYTES = 4_096  # that a file counts at least, so that empty ones end too


def main() -> None:
    """Execute one order and report."""
    starter = socket.socket(fileno=0)
    order = json.loads(starter.makefile().readline())
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    child = os.fork()
    if child == 0:
        become(order)
    close_output()
    report = watch(child, order, starter, woken)
    end_all(child)
    if taken(Path.cwd(), order["disk_bytes"]) > order["disk_bytes"]:
        report["emptied"] = True
        empty(Path.cwd())
    starter.sendall(json.dumps(report).encode())


def become(order: dict[str, Any]) -> NoReturn:
    """Turn this process into the code: in its own session, with its limits, as its own user."""
    try:
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        set_limits(order)
        if (uid := order["uid"]) is not None:
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        write(Path(order["file"]), bytes.fromhex(order["code"]))
        command = [*program(order), order["path"]]
        os.execv(command[0], command)
    except BaseException as error:
        os.write(1, f"[It could not be started: {error}]\n".encode(errors="replace"))
    finally:
        os._exit(126)


def set_limits(order: dict[str, Any]) -> None:
    """Bound what the process and all it starts may use."""
    bounds = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_CPU: int(order["seconds"]) + 1,
        resource.RLIMIT_FSIZE: order["disk_bytes"],
        resource.RLIMIT_NOFILE: OPEN_FILES,
    }
    if sys.platform == "linux":  # elsewhere no interpreter starts with the one, and nobody counts for the other
        bounds[resource.RLIMIT_AS] = order["memory_bytes"]
        bounds[resource.RLIMIT_NPROC] = order["processes"] + (others() if order["uid"] is None else 0)
    for kind, bound in bounds.items():
        resource.setrlimit(kind, (bound, bound))


def others() -> int:
    """How many processes and threads this user has already, who are all counted."""
    count = 0
    for place in Path("/proc").glob("[0-9]*/status"):
        try:
            said = dict(line.split(":", 1) for line in place.read_text(errors="replace").splitlines())
        except OSError:
            continue  # it has ended
        count += int(said["Threads"]) if int(said["Uid"].split()[0]) == os.getuid() else 0
    return count


def program(order: dict[str, Any]) -> list[str]:
    """The program that executes the code: the first one that its user can read."""
    if order["language"] != "python":
        return [next(filter(os.path.exists, ("/bin/bash", "/usr/bin/bash")), "/bin/sh")]
    ours = os.access(sys.executable, os.X_OK) and os.access(os.__file__, os.R_OK)
    return [sys.executable if ours else "/usr/bin/python3", "-I"]


def write(file: Path, code: bytes) -> None:
    """Write a file, whatever is there under its name."""
    if file.is_dir() and not file.is_symlink():
        shutil.rmtree(file)
    else:
        file.unlink(missing_ok=True)
    file.write_bytes(code)


def close_output() -> None:
    """Leave the output to the code, so that it ends with the code."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)


def watch(child: int, order: dict[str, Any], starter: socket.socket, woken: int) -> dict[str, Any]:
    """Wait until the code has ended or must: how it ended, as far as it is known."""
    end = time.monotonic() + order["seconds"]
    while True:
        if (code := ended(child)) is not None:
            return {"exit_code": code}
        if time.monotonic() > end:
            return {"timed_out": True}
        if taken(Path.cwd(), order["disk_bytes"]) > order["disk_bytes"]:
            return {}
        line = starter.fileno()
        ready = select.select([line, woken], [], [], min(POLL_SECONDS, max(0, end - time.monotonic())))[0]
        if woken in ready:
            os.read(woken, 4_096)
        if line in ready:  # closed: nobody waits for this any more
            return {}


def ended(child: int) -> int | None:
    """The exit code of the code, as a shell tells it, once it has ended; orphans that end are buried too."""
    try:
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            if found[0] == child:
                code = os.waitstatus_to_exitcode(found[1])
                return code if code >= 0 else 128 - code
    except ChildProcessError:
        return 1
    return None


def taken(place: Path, enough: int) -> int:
    """Bytes that a directory takes on the disk, counted until they are more than enough."""
    total, waiting = 0, [place]
    while waiting and total <= enough:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    total += max(FILE_BYTES, entry.stat(follow_symlinks=False).st_blocks * 512)
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(Path(entry.path))
                    if total > enough:
                        break
        except FileNotFoundError:
            continue
        except OSError:  # what is hidden, or too deep to be looked at, is as much as it likes
            return enough + 1
    return total


def empty(place: Path) -> None:
    """Remove all that is in a directory, however deep it is, which Python's own function for it does not like."""
    os.spawnv(os.P_WAIT, "/bin/chmod", ["chmod", "-R", "u+rwx", "."])
    names = [entry.name for entry in place.iterdir()]
    for first in range(0, len(names), 1_000):
        os.spawnv(os.P_WAIT, "/bin/rm", ["rm", "-rf", "--", *names[first : first + 1_000]])


def end_all(child: int) -> None:
    """Kill all that is below this process, whatever session it made; elsewhere than on Linux, the code's own group.

    Orphans become this process's children, so that none is lost. First all are stopped: then none starts another while
    it is looked for.
    """
    if sys.platform != "linux":
        with suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        return
    while True:
        stopped: set[int] = set()
        while new := descendants() - stopped:
            signal_all(new, signal.SIGSTOP)
            stopped |= new
        signal_all(stopped, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.001)


def signal_all(processes: set[int], number: int) -> None:
    """Send a signal to each that is still there."""
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process, number)


def descendants() -> set[int]:
    """The processes below this one."""
    children: dict[int, list[int]] = {}
    for process, parent in parents():
        children.setdefault(parent, []).append(process)
    found: set[int] = set()
    waiting = children.get(os.getpid(), [])
    while waiting:
        process = waiting.pop()
        found.add(process)
        waiting += children.get(process, [])
    return found


def parents() -> list[tuple[int, int]]:
    """Each process of the machine and its parent."""
    found = []
    for place in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended
            stat = place.read_bytes()
            found.append((int(place.parent.name), int(stat.rpartition(b")")[2].split()[1])))
    return found


if __name__ == "__main__":
    main()
