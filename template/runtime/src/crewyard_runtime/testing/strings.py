"""Strings that have a JSON Schema format or match a pattern, picked by a number."""

import random
import string
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from itertools import chain
from typing import Any

from rstr import Rstr

PLAIN = string.ascii_letters + string.digits
PATTERN_TRIES = 300


def _uuid(version: int) -> Callable[[int], str]:
    return lambda n: f"00000000-0000-{version}000-8000-{n % 2**48:012x}"


def _day(n: int) -> str:
    return (date(2026, 1, 1) + timedelta(days=n % 365)).isoformat()


def _time(n: int) -> str:
    return f"{n % 24:02}:{n % 60:02}:00Z"


def _uri(n: int) -> str:
    return f"https://example.com/{n % 1000}"


# The formats of JSON Schema and those that pydantic adds; any other is an annotation, and the string is free.
FORMATS: dict[str, Callable[[int], str]] = {
    "date": _day,
    "time": _time,
    "date-time": lambda n: f"{_day(n)}T{_time(n)}",
    "duration": lambda n: f"PT{1 + n % 59}M",
    "uuid": _uuid(4),
    **{f"uuid{version}": _uuid(version) for version in range(1, 9)},
    **dict.fromkeys(("email", "idn-email", "name-email"), lambda n: f"user{n % 1000}@example.com"),
    **dict.fromkeys(("uri", "iri", "uri-reference", "iri-reference", "uri-template", "url", "multi-host-uri"), _uri),
    **dict.fromkeys(("hostname", "idn-hostname"), lambda n: f"host{n % 1000}.example.com"),
    **dict.fromkeys(("ipv4", "ipvanyaddress", "ipv4interface", "ipvanyinterface"), lambda n: f"192.0.2.{n % 256}"),
    **dict.fromkeys(("ipv6", "ipv6interface"), lambda n: f"2001:db8::{n % 65_535 + 1:x}"),
    **dict.fromkeys(("ipv4network", "ipvanynetwork"), lambda n: f"10.{n % 256}.0.0/16"),
    "ipv6network": lambda n: f"2001:db8:{n % 65_535 + 1:x}::/48",
    "json-pointer": lambda n: f"/item/{n % 1000}",
    "relative-json-pointer": lambda n: f"{n % 10}/item",
    "regex": lambda n: f"^item-{n % 1000}$",
    "json-string": lambda n: str(n % 1000),
    **dict.fromkeys(("base64", "base64url"), lambda n: f"item{n % 10_000:04}"),
    "color": lambda n: f"#{n % 2**24:06x}",
}


def matching(pattern: str, low: int, high: float, seed: int) -> Iterator[str]:
    """Tries at a string that matches the pattern and has `low` to `high` characters; the caller checks each."""
    generator = _Readable(low, high, random.Random(seed))
    for _ in range(PATTERN_TRIES):
        try:
            found = generator.xeger(pattern)
        except (KeyError, IndexError):  # what rstr raises for a construct that it does not know
            return
        yield found
        yield found.ljust(low, "x")


class _Readable(Rstr):
    """rstr's generator, with plain characters and repetitions that suit the length that is asked for.

    rstr 3.2.2 picks from sets, whose order differs from process to process, and repeats up to 100 times.
    """

    def __init__(self, low: int, high: float, generator: random.Random) -> None:
        letters, others = string.ascii_letters, string.punctuation + " "
        super().__init__(generator, printable=PLAIN, nonwhitespace=PLAIN, nonword=others, nondigits=letters)
        self._lengths = [min(low, 10_000), int(min(high, 1_000))]

    def _handle_in(self, value: Any) -> str:
        characters: list[str] = list(chain(*(self._handle_state(state) for state in value)))
        if not characters[0]:  # the class is negated
            characters = [c for c in string.printable if c not in characters[1:]]
        return self._random.choice([c for c in characters if c in PLAIN] or characters)

    def _handle_repeat(self, start_range: int, end_range: int, value: Any) -> str:
        pick = self._random.choice
        times = pick([start_range, start_range + pick(range(4)), pick(range(self._lengths[0] + 1)), *self._lengths])
        times = max(start_range, min(int(end_range), times))
        return "".join(self._handle_state(state) for _ in range(times) for state in value)
