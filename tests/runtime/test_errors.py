"""The chain of an exception: everything that led to it, outermost first, as data of a bounded size."""

from collections.abc import Callable
from itertools import pairwise

import pytest
from crewyard_runtime.errors import MAX_LINKS, MAX_TEXT, ErrorLink, error_chain


def raised(action: Callable[[], object]) -> list[ErrorLink]:
    """The chain of what the action raises."""
    with pytest.raises(Exception) as caught:  # noqa: PT011 - whichever it is, the test looks at its chain
        action()
    return error_chain(caught.value)


def with_cause() -> None:
    try:
        {}["crm"]  # type: ignore[index]
    except KeyError as error:
        raise RuntimeError("no customer") from error


def with_context() -> None:
    try:
        {}["crm"]  # type: ignore[index]
    except KeyError:
        raise RuntimeError("no customer")  # noqa: B904 - the case under test


def with_hidden_context() -> None:
    try:
        {}["crm"]  # type: ignore[index]
    except KeyError:
        raise RuntimeError("no customer") from None


@pytest.mark.parametrize("action", [with_cause, with_context, with_hidden_context])
def test_what_an_exception_came_from_is_told(action: Callable[[], object]) -> None:
    chain = raised(action)
    assert [(link.type, link.message) for link in chain] == [("RuntimeError", "no customer"), ("KeyError", "'crm'")]


def test_each_link_tells_file_line_and_function() -> None:
    chain = raised(with_cause)
    first = with_cause.__code__.co_firstlineno
    assert [link.where for link in chain] == [f"{__file__}:{first + line} in with_cause" for line in (4, 2)]


def test_an_exception_that_was_never_raised_has_no_place() -> None:
    assert error_chain(ValueError("x")) == [ErrorLink(type="ValueError", message="x", where=None)]


def test_a_type_is_told_with_its_module() -> None:
    class CrmError(Exception):
        pass

    (link,) = error_chain(CrmError())
    assert link.type == f"{__name__}.test_a_type_is_told_with_its_module.<locals>.CrmError"


def test_notes_follow_the_message() -> None:
    error = ValueError("no customer")
    error.add_note("asked for: 日本語")
    error.add_note("asked by: agent 2")
    assert error_chain(error)[0].message == "no customer\nasked for: 日本語\nasked by: agent 2"


def test_a_cycle_ends_where_it_began() -> None:
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    assert [link.message for link in error_chain(first)] == ["first", "second"]


def test_a_very_long_chain_is_cut_after_its_outermost_links() -> None:
    errors = [ValueError(str(number)) for number in range(5_000)]
    for outer, inner in pairwise(errors):
        outer.__cause__ = inner
    assert [link.message for link in error_chain(errors[0])] == [str(number) for number in range(MAX_LINKS)]


def test_a_very_long_message_is_cut() -> None:
    error = ValueError("x" * 1_000_000)
    error.add_note("y" * 1_000_000)
    assert error_chain(error)[0].message == "x" * MAX_TEXT


def test_the_errors_of_a_group_are_told() -> None:
    def task_group() -> None:
        raise ExceptionGroup("unhandled errors in a TaskGroup", [ConnectionError("no CRM"), KeyError("crm")])

    assert [link.message for link in raised(task_group)][1:] == ["no CRM", "'crm'"]


class Unspeakable(Exception):
    """An exception that fails while it is told."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


def test_an_exception_without_a_text_does_not_break_the_chain() -> None:
    outer = ValueError("outer")
    outer.__cause__ = Unspeakable()
    outer.__cause__.__cause__ = KeyError("inner")
    chain = error_chain(outer)
    assert [link.type.rpartition(".")[2] for link in chain] == ["ValueError", "Unspeakable", "KeyError"]
