"""A deterministic instance of a JSON Schema, for a server that plays a model.

Every value is validated where it is made, with `jsonschema` and its format checker: an instance is right or is refused.
"""

import hashlib
import random
import re
import string
from collections.abc import Callable, Iterator, Sequence
from datetime import date, timedelta
from fractions import Fraction
from itertools import chain
from math import ceil, floor, inf
from typing import Any, Protocol
from urllib.parse import unquote

from rstr import Rstr

Schema = dict[str, Any]

STEPS = 10_000
LONGEST = 1_000_000
PATTERN_TRIES = 300
ROOT = "#"

UNSUPPORTED = frozenset(
    ("not if then else dependentSchemas dependencies unevaluatedProperties unevaluatedItems contains minContains")
    .split() + ["maxContains", "$anchor", "$dynamicRef", "$dynamicAnchor", "$recursiveRef", "$recursiveAnchor"]
)


class UnsupportedSchema(ValueError):
    """The schema is invalid, uses an unsupported keyword, or no instance was found; the message names the place."""


class FreeText(Protocol):
    """Makes a string of `low` to `high` characters; another `variant` gives another string."""

    def __call__(self, *, low: int, high: float, variant: int) -> str: ...
