"""A deterministic instance of a JSON Schema, for a server that plays a model.

Every value is validated where it is made, with `jsonschema` and its format checker: an instance is right or is refused.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import partial
from math import ceil, floor, inf
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import unquote

from crewyard_runtime.testing.echo import Echo
from crewyard_runtime.testing.strings import FORMATS, matching

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

MAX_TRIES = 10_000
MAX_TEXT = 1_000_000
UNSUPPORTED = {
    *("not", "if", "then", "else", "dependentSchemas", "dependencies", "unevaluatedProperties", "unevaluatedItems"),
    *("contains", "minContains", "maxContains", "$anchor", "$dynamicRef", "$dynamicAnchor", "$recursiveRef"),
}
SCHEMA_MAPS = {"properties", "patternProperties", "$defs", "definitions"}
SCHEMAS = {"allOf", "anyOf", "oneOf", "prefixItems", "items", "additionalProperties", "propertyNames"}
TYPE_OF = {
    **dict.fromkeys(("properties", "required", "additionalProperties", "patternProperties", "minProperties"), "object"),
    **dict.fromkeys(("items", "prefixItems", "minItems", "maxItems", "uniqueItems"), "array"),
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"), "number"),
}


class UnsupportedSchema(ValueError):
    """The schema is invalid, uses an unsupported keyword, or no instance was found; the message names the place."""


class _NotFound(Exception):
    """No value was found here; another branch, or leaving an optional part out, may still give an instance."""


class FreeText(Protocol):
    """Makes a string of `low` to `high` characters; another `variant` (from 0) gives another string."""

    def __call__(self, *, low: int, high: float, variant: int) -> str: ...


def generate(schema: Any, say: FreeText | None = None, *, seed: str = "") -> Any:
    """An instance of the schema, with every property; raises UnsupportedSchema.

    say: makes the free strings. seed: enums, alternatives and numbers are picked by a hash of it and of their path.
    Booleans are true wherever the schema lets them be, and of `X | null` it takes X.
    """
    try:
        maker = _Maker(schema, say or partial(Echo(("example", *seed.split())).text, 9), seed)
        for maker.rounds in (1, 2, 3):
            try:
                return maker.make(schema, "$", ("#",), 0)
            except _NotFound as error:
                reason = str(error)
    except (RecursionError, OverflowError):
        reason = "it is nested too deeply, or its numbers are too large"
    msg = f"The schema is not supported: {reason}."
    raise UnsupportedSchema(msg)


class _Maker:
    rounds: int  # how often a $ref may be followed inside itself, plus one

    def __init__(self, schema: Any, say: FreeText, seed: str) -> None:
        self._root, self._say, self._seed = schema, say, seed
        self._validator = _validator(schema)
        self._targets: dict[str, Any] = {}
        self._refs: dict[str, set[str]] = {}
        self._checked: set[str] = set()
        self._tries = 0
        self._check(schema, "#")

    def make(self, schema: Any, path: str, active: tuple[str, ...], variant: int) -> Any:
        """A value for this schema. active: the $refs being followed, from the outermost."""
        validator = self._validator.evolve(schema=schema)
        reason = ""
        if schema is not False:
            for flat, entered in self._expand({} if schema is True else schema, path, active, variant):
                try:
                    for value in self._candidates(flat, path, active + entered, variant):
                        self._count(path)
                        if validator.is_valid(value):
                            return value
                except _NotFound as error:
                    reason = str(error)
        raise _NotFound(reason or f"no value found at {path} for {_summary(schema)}")

    def _count(self, path: str) -> None:
        self._tries += 1
        if self._tries > MAX_TRIES:
            msg = f"The schema is not supported: it needs more than {MAX_TRIES} values, the last one at {path}."
            raise UnsupportedSchema(msg)

    def _check(self, schema: Any, path: str) -> None:
        parts = list(_subschemas(schema, path))
        self._checked.update(place for place, _ in parts)
        for place, part in parts:
            # A nested $id would change what the $refs below it mean; lists of items are the tuples of older drafts.
            wrong = [key for key in part if key in UNSUPPORTED or (key == "$id" and place != "#")]
            wrong += ["items"] if isinstance(part.get("items"), list) else []
            if wrong:
                msg = f"At {place}: the keyword {wrong[0]!r} is not supported here."
                raise UnsupportedSchema(msg)
            if "$ref" in part:
                self._target(part["$ref"], place)

    def _target(self, ref: str, place: str = "#") -> Any:
        if ref in self._targets:
            return self._targets[ref]
        node = self._root
        for part in ref.split("/")[1:]:
            key = unquote(part).replace("~1", "/").replace("~0", "~")
            index = int(key) if isinstance(node, list) and key.isdigit() else -1
            node = node.get(key) if isinstance(node, dict) else node[index] if 0 <= index < len(node) else None
        if not isinstance(node, dict | bool) or (ref != "#" and not ref.startswith("#/")):
            msg = f"At {place}: $ref {ref!r} is not supported: it must point into this schema, like '#/$defs/Name'."
            raise UnsupportedSchema(msg)
        self._targets[ref] = node
        self._refs[ref] = _refs(node)
        if ref not in self._checked:
            _check_form(type(self._validator), node, ref)
            self._check(node, ref)
        return node

    def _expand(
        self, schema: dict[str, Any], path: str, active: tuple[str, ...], variant: int
    ) -> Iterator[tuple[dict[str, Any], tuple[str, ...]]]:
        """Every way, the preferred first, to read the schema without $ref, allOf, anyOf, oneOf and type lists."""
        keyword = next((key for key in ("type", "$ref", "allOf", "anyOf", "oneOf") if _splits(schema, key)), None)
        if keyword is None:
            yield schema, ()
            return
        value, rest = schema[keyword], {key: part for key, part in schema.items() if key != keyword}
        inside: tuple[str, ...] = ()
        if keyword == "$ref":
            parts = [self._target(value)] if active.count(value) < self.rounds else []
            inside = (value,)
        elif keyword == "allOf":
            parts = value[:1]
            if value[1:]:
                rest["allOf"] = value[1:]
        else:
            options = [{"type": name} for name in value] if keyword == "type" else value
            parts = self._ordered(options, path, active, variant)
        for part in parts:
            if part is False:
                continue
            for flat, deeper in self._expand({} if part is True else part, path, active + inside, variant):
                for whole, beside in self._expand(_merge(rest, flat), path, active, variant):
                    yield whole, inside + deeper + beside

    def _ordered(self, options: list[Any], path: str, active: tuple[str, ...], variant: int) -> list[Any]:
        start = (self._hash(path) + variant) % len(options)
        # pydantic writes Decimal as a number or any string; not any string is one.
        last = [{"type": "string"}] if any(_is(option, "number") for option in options) else []
        return sorted(
            options[start:] + options[:start],
            key=lambda part: (not self._reach(part).isdisjoint(active), _is(part, "null"), part in last),
        )

    def _reach(self, schema: Any) -> set[str]:
        found: set[str] = set()
        pending = _refs(schema)
        while pending:
            found |= pending
            pending = set().union(*(self._refs[ref] for ref in pending)) - found
        return found

    def _candidates(self, flat: dict[str, Any], path: str, active: tuple[str, ...], variant: int) -> Iterator[Any]:
        number = self._hash(path) + variant
        if "const" in flat:
            yield flat["const"]
        elif "enum" in flat:
            start = number % max(1, len(flat["enum"]))
            yield from flat["enum"][start:] + flat["enum"][:start]
        else:
            match flat.get("type") or next((TYPE_OF[key] for key in flat if key in TYPE_OF), "string"):
                case "object":
                    yield self._object(flat, path, active, variant)
                case "array":
                    yield self._array(flat, path, active, variant)
                case "string":
                    yield from self._strings(flat, path, variant)
                case "boolean":
                    yield from (True, False) if variant % 2 == 0 else (False, True)
                case "null":
                    yield None
                case _:
                    yield from _numbers(flat, number)

    def _object(self, flat: dict[str, Any], path: str, active: tuple[str, ...], variant: int) -> dict[str, Any]:
        properties, required = flat.get("properties", {}), flat.get("required", [])
        others = flat.get("additionalProperties", True)
        made = {}
        for name in dict.fromkeys([*properties, *required]):
            try:
                made[name] = self.make(properties.get(name, others), f"{path}.{name}", active, variant)
            except _NotFound:
                if name in required:
                    raise
        fewest, most = int(flat.get("minProperties", 0)), int(flat.get("maxProperties", MAX_TRIES))
        names = flat.get("propertyNames")
        if flat.get("patternProperties") and not properties:
            pattern, others = next(iter(flat["patternProperties"].items()))
            names = {"pattern": pattern}
        # A map without fixed names would otherwise always be empty, which shows nothing.
        for count in range(max(fewest, not made and isinstance(others, dict) and others != {})):
            try:
                name = f"item_{count + 1}"
                if names is not None:
                    name = self.make({"type": "string", "allOf": [names]}, f"{path}~", active, variant + count)
                made.setdefault(name, self.make(others, f"{path}.{name}", active, variant))
            except _NotFound:
                if len(made) < fewest:
                    raise
        optional = [name for name in made if name not in required]
        for name in optional[max(0, most - len(made) + len(optional)) :]:
            del made[name]
        return made

    def _array(self, flat: dict[str, Any], path: str, active: tuple[str, ...], variant: int) -> list[Any]:
        first, others = flat.get("prefixItems", []), flat.get("items", True)
        fewest, most = int(flat.get("minItems", 0)), int(flat.get("maxItems", MAX_TRIES))
        count = max(fewest, min(len(first) or 1 + self._hash(path) % 2, most))
        made: list[Any] = []
        keys: set[str] = set()
        for index in range(count):
            schema = first[index] if index < len(first) else others
            tries = range(index, index + 50) if flat.get("uniqueItems") else range(1)
            try:
                for attempt in tries:
                    value = self.make(schema, f"{path}[{index}]", active, variant + attempt)
                    key = json.dumps(value, sort_keys=True)
                    if len(tries) == 1 or key not in keys:
                        break
            except _NotFound:
                if index < fewest:
                    raise
                break
            made.append(value)
            keys.add(key)
        return made

    def _strings(self, flat: dict[str, Any], path: str, variant: int) -> Iterator[str]:
        low, high = int(flat.get("minLength", 0)), flat.get("maxLength", inf)
        form = FORMATS.get(flat.get("format", ""))
        if low > min(high, MAX_TEXT):
            return
        number, pattern = self._hash(path) + variant, flat.get("pattern", "")
        text = form(number) if form else self._say(low=low, high=high, variant=variant)
        # A pattern that only ties down the start of a text was still meant to describe all of it.
        if not pattern.startswith("^") or re.fullmatch(pattern, text):
            yield text
        if pattern:
            yield from matching(pattern, low, high, seed=number)

    def _hash(self, path: str) -> int:
        # JSON escapes lone surrogates, which UTF-8 cannot hold.
        return int.from_bytes(hashlib.sha256(json.dumps([self._seed, path]).encode()).digest()[:4])


def _validator(schema: Any) -> "Validator":
    # Imported at the first schema: 0.1 s that a server which only gives texts does not need.
    from jsonschema import Draft6Validator, Draft7Validator, Draft201909Validator, Draft202012Validator

    kinds = (Draft6Validator, Draft7Validator, Draft201909Validator, Draft202012Validator)
    drafts = {str(kind.META_SCHEMA["$id"]).rstrip("#"): kind for kind in kinds}
    named = isinstance(schema, dict) and "$schema" in schema
    kind = drafts.get(str(schema["$schema"]).rstrip("#")) if named else Draft202012Validator
    if kind is None:
        msg = f"At #: the keyword '$schema' is not supported here, unless it is one of {', '.join(drafts)}."
        raise UnsupportedSchema(msg)
    _check_form(kind, schema, "#")
    return kind(schema, format_checker=kind.FORMAT_CHECKER)


def _check_form(kind: "type[Validator]", schema: Any, path: str) -> None:
    from jsonschema import SchemaError

    try:
        kind.check_schema(schema)
    except SchemaError as error:
        msg = f"At {'/'.join([path, *map(str, error.path)])}: not a valid JSON Schema: {error.message[:300]}"
        raise UnsupportedSchema(msg) from None


def _summary(schema: Any) -> str:
    text = json.dumps(schema)
    return text if len(text) <= 200 else f"{text[:200]}..."


def _is(schema: Any, kind: str) -> bool:
    return isinstance(schema, dict) and schema.get("type") == kind


def _splits(schema: dict[str, Any], keyword: str) -> bool:
    return bool(schema.get(keyword)) and (keyword != "type" or isinstance(schema["type"], list))


def _subschemas(schema: Any, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if not isinstance(schema, dict):
        return
    yield path, schema
    for keyword, value in schema.items():
        if keyword in SCHEMA_MAPS:
            parts = [(f"/{name}", part) for name, part in value.items()]
        elif keyword in SCHEMAS:
            parts = [(f"/{n}", part) for n, part in enumerate(value)] if isinstance(value, list) else [("", value)]
        else:
            continue
        for name, part in parts:
            yield from _subschemas(part, f"{path}/{keyword}{name}")


def _refs(schema: Any) -> set[str]:
    return {part["$ref"] for _, part in _subschemas(schema, "") if "$ref" in part}


def _merge(one: dict[str, Any], two: dict[str, Any]) -> dict[str, Any]:
    """A schema that asks for what both ask, where that can be said in one; where not, validation will refuse it."""
    return {**one, **two, **{key: JOIN[key](one[key], two[key]) for key in one.keys() & two.keys() & JOIN.keys()}}


def _join_properties(one: dict[str, Any], two: dict[str, Any]) -> dict[str, Any]:
    return {**one, **two, **{name: _both(one[name], two[name]) for name in one.keys() & two.keys()}}


def _both(one: Any, two: Any) -> Any:
    return False if one is False or two is False else {"allOf": [one, two]}


JOIN: dict[str, Callable[[Any, Any], Any]] = {
    **dict.fromkeys(("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"), max),
    **dict.fromkeys(("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"), min),
    **dict.fromkeys(("items", "additionalProperties", "propertyNames"), _both),
    "type": lambda one, two: "integer" if {one, two} == {"integer", "number"} else two,
    "required": lambda one, two: [*one, *two],
    "enum": lambda one, two: [value for value in one if value in two],
    "uniqueItems": lambda one, two: one or two,
    "properties": _join_properties,
}


def _numbers(flat: dict[str, Any], number: int) -> Iterator[int | float]:
    lows = [Fraction(str(flat[key])) for key in ("minimum", "exclusiveMinimum") if key in flat]
    highs = [Fraction(str(flat[key])) for key in ("maximum", "exclusiveMaximum") if key in flat]
    step = Fraction(str(flat.get("multipleOf", 1 if flat.get("type") == "integer" else 0.5)))
    low = max(lows) if lows else min(highs) - 10 * step if highs else step
    high = min(highs) if highs else low + 10 * step
    if "multipleOf" not in flat and flat.get("type") != "integer" and 0 < high - low < 1:
        step = (high - low) / 8
    first, last = ceil(low / step), floor(high / step)
    count = last - first + 1
    for value in [*((first + (number + n) % count) * step for n in range(min(20, count))), low]:
        yield int(value) if value.denominator == 1 else float(value)
