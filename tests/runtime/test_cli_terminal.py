"""What commands show of texts that somebody else wrote: nothing that drives the terminal, and logs in short."""

import io
import logging
from collections.abc import Iterator

import pytest
from crewyard_runtime import logs
from crewyard_runtime.terminal import printable, readable_log


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J", "\\x1b[2J"),
        ("a\rb\x07\x9b", "a\\x0db\\x07\\x9b"),
        ("two\nlines\tand more", "two\nlines\tand more"),
        ("日本語 👩‍👩‍👧", "日本語 👩‍👩‍👧"),
        (None, "None"),
    ],
)
def test_control_characters_are_shown_and_not_sent(text: object, shown: str) -> None:
    assert printable(text) == shown


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """Where JSON logs go to."""
    monkeypatch.setattr(logging.root, "handlers", [])
    stream = io.StringIO()
    logs.configure(stream=stream)
    yield stream
    logging.captureWarnings(False)


def test_a_json_log_is_read_as_time_level_message_and_run(logged: io.StringIO) -> None:
    with logs.ids("request", "0123456789"):
        logging.getLogger("crewyard").info("attempt %d started", 1)
    time, rest = readable_log(logged.getvalue()).split(" ", 1)
    assert len(time) == len("07:06:31")
    assert rest == "INFO attempt 1 started run=01234567"


def test_the_traceback_of_a_json_log_is_read_below_it(logged: io.StringIO) -> None:
    try:
        raise ValueError("no customer 7")
    except ValueError:
        logging.getLogger("crewyard").exception("the lookup failed")
    first, *trace = readable_log(logged.getvalue()).splitlines()
    assert first.endswith("ERROR the lookup failed")
    assert trace[-1] == "ValueError: no customer 7"


@pytest.mark.parametrize("line", ["plain text", "{broken", "7", "[]", "{}", '{"message": "x"}', ""])
def test_any_other_line_is_shown_as_it_is(line: str) -> None:
    assert readable_log(line) == line
