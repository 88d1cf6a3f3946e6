"""What agents are told unasked: what fits the run's input, within a bound, once, as data."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from crewyard_runtime.memory import KnownFacts, NoMemory, Remembered
from crewyard_runtime.memory.known import HEADING
from pydantic import BaseModel


class Knows(NoMemory):
    """A memory that recalls the same things, whatever is asked."""

    def __init__(self, *facts: str) -> None:
        self.facts = [Remembered(str(number), fact) for number, fact in enumerate(facts)]
        self.asked: list[str] = []

    def recalling(self, query: str, limit: int = 5) -> Callable[[], list[Remembered]]:
        self.asked.append(query)
        return lambda: self.facts[:limit]


class Ticket(BaseModel):
    """An input with texts at several depths."""

    subject: str = "Invoice"
    number: int = 7
    lines: list[dict[str, str]] = [{"body": "Where is it?"}]


def test_each_fact_is_a_line() -> None:
    known = KnownFacts(Knows("lives in Oslo", "has two\n\n  cats"), "hello", 500)
    assert known.text() == f"{HEADING}\n- lives in Oslo\n- has two cats"


def test_nothing_known_is_no_text() -> None:
    assert KnownFacts(Knows(), "hello", 500).text() == ""
    assert KnownFacts(NoMemory(), "hello", 500).text() == ""


@pytest.mark.parametrize(
    ("input", "query"),
    [(Ticket(), "Invoice\nWhere is it?"), ("hello", "hello"), ({"a": ["b", {"c": "d"}]}, "b\nd"), (7, ""), (None, "")],
    ids=str,
)
def test_it_is_asked_by_the_texts_of_the_input(input: Any, query: str) -> None:
    memory = Knows()
    KnownFacts(memory, input, 500)
    assert memory.asked == [query]


def test_it_is_asked_once_a_run() -> None:
    memory = Knows("lives in Oslo")
    known = KnownFacts(memory, "hello", 500)
    threads = [threading.Thread(target=known.text) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(memory.asked) == 1


@pytest.mark.parametrize("tokens", [0, 1, 30, 100, 500, 5_000])
@pytest.mark.parametrize("fact", ["lives in Oslo", "猫が好きです", "🦉" * 20, "1234567890" * 5])
def test_the_bound_holds(tokens: int, fact: str) -> None:
    text = KnownFacts(Knows(*(f"{fact} {number}" for number in range(50))), "hello", tokens).text()
    assert len(text.encode()) <= tokens * 3


def test_a_fact_that_is_too_long_does_not_keep_out_the_next() -> None:
    assert KnownFacts(Knows("x" * 10_000, "lives in Oslo"), "hello", 500).text() == f"{HEADING}\n- lives in Oslo"


def test_what_was_remembered_twice_is_told_once() -> None:
    assert KnownFacts(Knows("lives in Oslo", "lives in  Oslo"), "hello", 500).text() == f"{HEADING}\n- lives in Oslo"


def test_it_reports_how_much_is_told() -> None:
    events: list[tuple[str, dict[str, Any]]] = []
    memory = Knows("lives in Oslo", "x" * 10_000)
    known = KnownFacts(memory, "hello", 500, lambda *event: events.append(event))
    known.text()
    known.text()
    assert events == [("memory.told", {"facts": 1, "found": 2})]
