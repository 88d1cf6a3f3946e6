"""The inputs of a batch as they are read: each with its line number, each bad one with its reason."""

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from crewyard_runtime.batch import Line, NoInput, read_lines

NOTHING = "There is no input: give a file of JSON lines, one JSON object, or pipe them in."
WHAT_TO_GIVE = "Give a file of JSON lines, or one JSON object."
# Separators of lines in the eyes of Unicode, and characters like any other in a JSON string.
SEPARATORS = "a\u2028b\u2029c\u0085d"


@pytest.fixture
def file(tmp_path: Path) -> Callable[[str | bytes], str]:
    """Write a file of inputs and give its path."""

    def write(content: str | bytes) -> str:
        path = tmp_path / "inputs.jsonl"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return write


Write = Callable[[str | bytes], str]


def pipe(monkeypatch: pytest.MonkeyPatch, content: bytes, locale: str = "utf-8") -> None:
    """Give this to the process on its standard input."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content), locale))


@pytest.mark.parametrize(
    ("source", "data"),
    [
        ('{"a": 1}', {"a": 1}),
        (' \n {"a": {"b": [1, 2]}}\n', {"a": {"b": [1, 2]}}),
        ("[1, 2]", [1, 2]),
        ('{\n  "a": 1,\n  "b": 2\n}', {"a": 1, "b": 2}),
    ],
)
def test_an_argument_that_is_json_is_one_input(source: str, data: object) -> None:
    assert read_lines(source) == [Line(1, data)]


def test_each_line_of_a_file_is_an_input(file: Write) -> None:
    assert read_lines(file('{"a": 1}\n{"a": 2}\n"text"\n')) == [Line(1, {"a": 1}), Line(2, {"a": 2}), Line(3, "text")]


def test_lines_of_an_argument_are_inputs() -> None:
    assert read_lines('{"a": 1}\n{"a": 2}') == [Line(1, {"a": 1}), Line(2, {"a": 2})]


@pytest.mark.parametrize("source", [None, "-"])
def test_lines_come_from_standard_input(monkeypatch: pytest.MonkeyPatch, source: str | None) -> None:
    pipe(monkeypatch, '{"a": "für"}\n{"a": 2}\n'.encode())
    assert read_lines(source) == [Line(1, {"a": "für"}), Line(2, {"a": 2})]


def test_standard_input_is_read_as_a_file_is_whatever_the_locale(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe(monkeypatch, b"\xef\xbb\xbf" + '{"a": "für"}\n'.encode(), locale="iso-8859-1")
    assert read_lines(None) == [Line(1, {"a": "für"})]


def test_a_file_may_hold_one_object_over_several_lines(file: Write) -> None:
    data = {"subject": "Invoice", "items": [{"n": 1}, {"n": 2}]}
    assert read_lines(file(json.dumps(data, indent=2))) == [Line(1, data)]


def test_blank_lines_are_no_inputs_and_are_counted(file: Write) -> None:
    assert read_lines(file('\n{"a": 1}\n  \n\t\n{"a": 2}\n\n')) == [Line(2, {"a": 1}), Line(5, {"a": 2})]


def test_lines_may_end_as_on_windows_and_begin_with_a_byte_order_mark(file: Write) -> None:
    assert read_lines(file(b'\xef\xbb\xbf{"a": 1}\r\n{"a": 2}\r\n')) == [Line(1, {"a": 1}), Line(2, {"a": 2})]


@pytest.mark.parametrize(
    "bad",
    ["{broken", "{'a': 1}", '{"a": 1} {"a": 2}', "nonsense", "[" * 100_000, "9" * 10_000, r'{"a": "\ud800"}'],
    ids=["cut off", "single quotes", "two in a line", "no JSON", "too deep", "too long a number", "half a character"],
)
def test_a_bad_line_has_its_number_and_reason_and_spoils_no_other(file: Write, bad: str) -> None:
    before, line, after = read_lines(file(f'{{"a": 1}}\n{bad}\n{{"a": 3}}\n'))
    assert (before, after) == (Line(1, {"a": 1}), Line(3, {"a": 3}))
    assert (line.number, line.data) == (2, None)
    assert line.problem is not None
    assert line.problem.startswith("This is no JSON: ")


@pytest.mark.parametrize(
    "text",
    ["日本語のチケット", "العربية", "हिन्दी", "emoji 👩‍👩‍👧", "e\u0301", "\x7f", SEPARATORS],
    ids=["Japanese", "Arabic", "Hindi", "emoji", "combining", "control", "separators"],
)
@pytest.mark.parametrize("escaped", [False, True], ids=["as it is", "escaped"])
def test_every_script_is_read_as_it_was_written(file: Write, text: str, escaped: bool) -> None:
    line = json.dumps({"body": text}, ensure_ascii=escaped)
    assert read_lines(file(f"{line}\n{line}\n")) == [Line(1, {"body": text}), Line(2, {"body": text})]


def test_a_line_of_a_megabyte_is_an_input(file: Write) -> None:
    data = {"body": "x" * 1_000_000}
    assert read_lines(file(f"{json.dumps(data)}\n{json.dumps(data)}\n")) == [Line(1, data), Line(2, data)]


@pytest.mark.parametrize("content", ["", "\n\n  \n"], ids=["empty", "blank"])
def test_a_file_without_a_line_is_no_input(file: Write, content: str) -> None:
    with pytest.raises(NoInput) as refused:
        read_lines(file(content))
    assert str(refused.value) == NOTHING


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(NoInput) as refused:
        read_lines(str(tmp_path / "no.jsonl"))
    assert str(refused.value) == f"{tmp_path / 'no.jsonl'} cannot be read: No such file or directory. {WHAT_TO_GIVE}"


def test_a_directory_is_no_input(tmp_path: Path) -> None:
    with pytest.raises(NoInput) as refused:
        read_lines(str(tmp_path))
    assert str(refused.value) == f"{tmp_path} cannot be read: Is a directory. {WHAT_TO_GIVE}"


def test_a_binary_file_is_no_input(file: Write) -> None:
    path = file(b"\x89PNG\r\n\x1a\n\x00\xff\xfe")
    with pytest.raises(NoInput) as refused:
        read_lines(path)
    assert str(refused.value) == f"{path} cannot be read: it is not UTF-8 text. {WHAT_TO_GIVE}"


def test_a_binary_standard_input_is_no_input(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe(monkeypatch, b"\x89PNG\r\n\x1a\n\x00\xff\xfe")
    with pytest.raises(NoInput, match="it is not UTF-8 text"):
        read_lines(None)


class Terminal(io.TextIOWrapper):
    """A standard input at which somebody sits."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    "stdin",
    [None, Terminal(io.BytesIO(b'{"a": 1}')), io.TextIOWrapper(io.BytesIO())],
    ids=["closed", "a terminal", "empty"],
)
def test_nobody_waits_for_an_input_that_will_not_come(
    monkeypatch: pytest.MonkeyPatch, stdin: io.TextIOWrapper | None
) -> None:
    monkeypatch.setattr(sys, "stdin", stdin)
    with pytest.raises(NoInput) as refused:
        read_lines(None)
    assert str(refused.value) == NOTHING
