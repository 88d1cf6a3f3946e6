"""Instances of JSON Schemas: right ones, of generated schemas and of pydantic's, or a refusal that names the place."""

import os
import random
import subprocess
import sys
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Network
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from crewyard_runtime.testing.schema import UnsupportedSchema, generate
from jsonschema import Draft202012Validator
from pydantic import AnyUrl, BaseModel, ConfigDict, Field, StringConstraints, create_model

PATTERNS = [
    (r"^[A-Z]{2}-\d{4}$", 7, 7),
    (r"^[a-z][a-z0-9_]*$", 1, 40),
    (r"^(?=.*\d)(?=.*[a-z]).{8,12}$", 8, 12),
    (r"^[^/\s]+/[^/\s]+$", 3, 30),
    (r"^(red|green|blue)(-light)?$", 3, 11),
    (r"\d{3}", 10, 50),
    (r"^\S+$", 20, 20),
    (r"^(?P<quote>['x]).*(?P=quote)$", 2, 60),
    (r"^(?!admin)\w+$", 1, 60),
]
Schema = dict[str, Any]
FORMATS = ["date", "time", "date-time", "duration", "email", "uuid", "uri", "ipv4", "ipv6", "hostname", "json-pointer"]
FORMATS += ["regex", "binary", "password", "no-such-format"]


def assert_valid(schema: Any, value: Any) -> None:
    Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(value)


DEFINITIONS: Schema = {
    "Tree": {
        "type": "object",
        "properties": {"name": {"type": "string"}, "children": {"type": "array", "items": {"$ref": "#/$defs/Tree"}}},
        "required": ["name", "children"],
        "additionalProperties": False,
    },
    "Chain": {
        "type": "object",
        "properties": {"next": {"anyOf": [{"$ref": "#/$defs/Chain"}, {"type": "null"}]}},
        "required": ["next"],
    },
    "Loose": {"type": "object", "properties": {"self": {"$ref": "#/$defs/Loose"}, "size": {"type": "integer"}}},
    "a/b": {"type": "string", "maxLength": 12},
}


def leaf(rng: random.Random) -> Schema:
    pattern, low, high = rng.choice(PATTERNS)
    number = rng.randrange(-50, 50)
    texts: list[Schema] = [
        {"type": "string", "minLength": number + 50, "maxLength": number + 50 + rng.randrange(20)},
        {"type": "string", "pattern": pattern},
        {"type": "string", "pattern": pattern, "minLength": low, "maxLength": high},
        {"type": "string", "format": rng.choice(FORMATS)},
        {"minLength": 3},
    ]
    numbers: list[Schema] = [
        {"type": "integer", "minimum": number, "maximum": number},
        {"type": "integer", "exclusiveMinimum": number, "exclusiveMaximum": number + 2},
        {"type": "integer", "minimum": number, "maximum": number + 7, "multipleOf": 7},
        {"type": "number", "exclusiveMinimum": number, "exclusiveMaximum": number + 0.25},
        {"type": "number", "maximum": number, "multipleOf": 0.5},
        {"type": "number", "minimum": number + 0.3, "maximum": number + 0.3},
    ]
    others: list[Schema] = [
        *({"enum": ["a", 1, None, {"$ref": "x"}]}, {"enum": [False]}, {"const": [1, {"not": 2}]}),
        *({}, {"type": "boolean"}, {"type": ["string", "null"]}, {"type": ["null", "integer"]}),
    ]
    references: list[Schema] = [{"$ref": f"#/$defs/{name}"} for name in ("Tree", "Chain", "Loose", "a~1b")]
    return rng.choice(rng.choice([texts, numbers, others, references]))


def holder(rng: random.Random, depth: int) -> Schema:
    """A schema of arrays, objects and combinations that has an instance."""

    def inner() -> Schema:
        return holder(rng, depth - 1) if depth and rng.random() < 0.6 else leaf(rng)

    names = rng.sample(["id", "na/me", "not", "$ref", "properties", "kind", "ünit"], rng.randrange(5))
    fields = {"type": "object", "properties": {name: inner() for name in names}, "required": names[::2]}
    fewest = rng.randrange(4)
    sized = {"type": "object", "properties": {"size": {"type": "number", "minimum": 3}}, "required": ["size"]}
    more = {"properties": {"size": {"type": "integer", "maximum": 4}, "more": inner()}, "required": ["more"]}
    options: list[Schema] = [
        fields,
        {**fields, "additionalProperties": False},
        {**fields, "additionalProperties": inner(), "minProperties": 6, "propertyNames": {"maxLength": 10}},
        {"type": "array", "items": {"enum": [1, 2, 3, "4"]}, "minItems": fewest, "uniqueItems": True},
        {"type": "array", "items": {"type": "string", "maxLength": 9}, "minItems": 5, "uniqueItems": True},
        {"type": "array", "items": inner(), "minItems": fewest, "maxItems": fewest + 1},
        {"type": "array", "prefixItems": [inner(), inner()], "minItems": 2, "maxItems": 2},
        {"anyOf": [inner(), inner(), {"type": "null"}]},
        {"oneOf": [{"type": "object", "properties": {"tag": {"const": n}}, "required": ["tag"]} for n in range(3)]},
        {"allOf": [sized, more], "description": "both"},
    ]
    return rng.choice(options)


@pytest.mark.parametrize("seed", range(300))
def test_a_generated_schema_gets_an_instance_that_validates(seed: int) -> None:
    schema = {**holder(random.Random(seed), depth=3), "$defs": DEFINITIONS}
    assert_valid(schema, generate(schema, seed=str(seed)))


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int = Field(ge=1, le=9)


class Dog(BaseModel):
    kind: Literal["dog"]
    name: str


class Tree(BaseModel):
    value: int
    children: list["Tree"]
    parent: "Tree | None" = None


class Left(BaseModel):
    right: "Right | None"


class Right(BaseModel):
    left: Left


class Closed(BaseModel):
    model_config = ConfigDict(extra="forbid")

    trees: list[Tree] = Field(min_length=2)


Code = Annotated[str, StringConstraints(pattern="^[a-z]{3}$")]
FIELDS: dict[str, Any] = {
    "decimal": Decimal,
    "bounded_decimal": Annotated[Decimal, Field(max_digits=5, decimal_places=2)],
    "datetime": datetime,
    "date": date,
    "time": time,
    "duration": timedelta,
    "uuid": UUID,
    "url": AnyUrl,
    "ipv4": IPv4Address,
    "ipv6_network": IPv6Network,
    "literal": Literal["one", "two"],
    "numbers_or_none": Literal[1, None],
    "enum": Colour,
    "map": dict[str, int],
    "map_of_trees": dict[str, Tree],
    "map_of_literals": dict[Literal["a", "b"], int],
    "map_with_patterns": Annotated[
        dict[Annotated[str, StringConstraints(pattern="^[a-z]{3}$")], int], Field(min_length=1)
    ],
    "tuple": tuple[int, str],
    "tuple_of_any_length": tuple[int, ...],
    "optional": int | None,
    "union": int | str | list[bool],
    "pattern": Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}-\d+$", max_length=8)],
    "text": Annotated[str, StringConstraints(min_length=100, max_length=110)],
    "pets": list[Annotated[Cat | Dog, Field(discriminator="kind")]],
    "set": Annotated[set[int], Field(min_length=6)],
    "frozenset": Annotated[frozenset[Literal["a", "b"]], Field(min_length=2)],
    "number": Annotated[float, Field(gt=0, lt=0.001)],
    "multiple": Annotated[int, Field(multiple_of=7, ge=50, le=60)],
    "bytes": bytes,
    "anything": Any,
    "object": dict[str, Any],
    "tree": Tree,
    "mutual": Left,
    "closed": Closed,
}


@pytest.mark.parametrize("name", FIELDS)
def test_an_instance_of_a_pydantic_schema_validates_in_pydantic_too(name: str) -> None:
    model = create_model("Model", field=(FIELDS[name], ...))
    schema = model.model_json_schema()
    value = generate(schema)
    assert_valid(schema, value)
    model.model_validate(value)


def test_an_email_validates_in_pydantic_too() -> None:
    pytest.importorskip("email_validator")
    from pydantic import EmailStr

    model = create_model("Model", field=(EmailStr, ...))
    model.model_validate(generate(model.model_json_schema()))


A: Schema = {"type": "integer", "minimum": 3}
B: Schema = {"type": "integer", "maximum": 3}
THREE: Schema = {"properties": {"a": {}, "b": {}, "c": {}}, "required": ["c"], "maxProperties": 1}
NEXT: Schema = {"N": {"type": "object", "properties": {"n": {"$ref": "#/$defs/N"}}}}


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({}, "example"),
        (True, "example"),
        ({"type": "boolean"}, True),
        ({"anyOf": [{"type": "null"}, {"const": 5}]}, 5),
        ({"type": ["null", "boolean"]}, True),
        ({"allOf": [A, B]}, 3),
        ({"allOf": [{"properties": {"n": A}}, {"properties": {"n": B}}], "type": "object"}, {"n": 3}),
        ({"$ref": "#/$defs/N", "maximum": 3, "$defs": {"N": A}}, 3),
        ({"oneOf": [{"type": "integer", "minimum": 1, "maximum": 2}, {"const": 1}, {"enum": [1, 7]}]}, 2),
        (THREE, {"c": "example"}),
        ({"required": ["x"], "additionalProperties": {**A, **B}}, {"x": 3}),
        ({"type": "array", "items": {"type": "boolean"}, "uniqueItems": True, "minItems": 2}, [True, False]),
        ({"type": "array", "prefixItems": [{"const": 1}, {"const": 2}], "items": False}, [1, 2]),
        ({"type": "array", "items": {"const": 1}, "maxItems": 0}, []),
        ({"type": "string", "maxLength": 4}, "exam"),
        ({"type": "string", "default": "x", "examples": ["y"], "title": "z", "nullable": True}, "example"),
        ({"type": "object", "properties": {"again": {"$ref": "#"}}}, {}),
        ({"$ref": "#/$defs/N", "required": ["n"], "$defs": NEXT}, {"n": {}}),
    ],
)
def test_the_instance_of_a_plain_schema(schema: Any, expected: Any) -> None:
    assert generate(schema) == expected


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ({"properties": {"a": {"not": {}}}}, "#/properties/a: the keyword 'not'"),
        ({"anyOf": [{"type": "null"}, {"if": {}, "then": {}}]}, "#/anyOf/1: the keyword 'if'"),
        ({"$defs": {"A": {"contains": {}}}}, "#/$defs/A: the keyword 'contains'"),
        ({"dependentSchemas": {}}, "'dependentSchemas'"),
        ({"unevaluatedProperties": False}, "'unevaluatedProperties'"),
        ({"items": {"$ref": "https://example.com/x.json"}}, "#/items: $ref 'https://example.com/x.json'"),
        ({"$ref": "#/$defs/Missing"}, "$ref '#/$defs/Missing'"),
        ({"$ref": "#/x/Y", "x": {"Y": {"not": {}}}}, "#/x/Y: the keyword 'not'"),
        ({"properties": {"a": {"$id": "other"}}}, "#/properties/a: the keyword '$id'"),
        ({"type": "text"}, "#/type: not a valid JSON Schema"),
        ({"pattern": "\\p{L}"}, "#/pattern: not a valid JSON Schema"),
        ({"$schema": "http://json-schema.org/draft-04/schema#"}, "'$schema'"),
        ([], "[] is not of type 'object'"),
        (False, "no value found at $ "),
        ({"properties": {"a": {"pattern": "^a{5}$", "maxLength": 3}}, "required": ["a"]}, "no value found at $.a "),
        ({"type": "string", "format": "date", "maxLength": 3}, "no value found at $ "),
        ({"type": "integer", "minimum": 5, "maximum": 3}, "no value found at $ "),
        ({"type": "string", "minLength": 10**12}, "no value found at $ "),
        ({"type": "array", "minItems": 10**12}, "more than 10000 values"),
        ({"type": "array", "items": {"enum": [1, 2]}, "uniqueItems": True, "minItems": 3}, "no value found at $ "),
        ({"$ref": "#/$defs/N", "$defs": {"N": {**NEXT["N"], "required": ["n"]}}}, "no value found at $.n"),
        ({"$ref": "#/$defs/N", "$defs": {"N": {"$ref": "#/$defs/N"}}}, "no value found at $ "),
    ],
)
def test_a_schema_that_cannot_be_satisfied_is_refused_with_its_place(schema: Any, told: str) -> None:
    with pytest.raises(UnsupportedSchema) as error:
        generate(schema)
    assert told in str(error.value)


def test_a_schema_nested_beyond_the_stack_is_refused() -> None:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(400):
        schema = {"type": "array", "items": schema, "minItems": 1}
    with pytest.raises(UnsupportedSchema, match="too deep"):
        generate(schema)


def test_alternatives_that_hold_each_other_stay_shallow() -> None:
    nodes: list[Schema] = [{"$ref": f"#/$defs/N{n}"} for n in range(20)]
    operator: Schema = {
        "type": "object",
        "properties": {"l": {"anyOf": nodes}, "r": {"anyOf": nodes}},
        "required": ["l", "r"],
    }
    defs = {**{f"N{n}": operator for n in range(19)}, "N19": {"type": "integer"}}
    schema = {"type": "object", "properties": {"root": {"anyOf": nodes}}, "$defs": defs}
    value = generate(schema, seed="1")
    assert_valid(schema, value)
    assert len(str(value)) < 60


def test_different_seeds_pick_different_values() -> None:
    schema = {"enum": list(range(50))}
    assert len({generate(schema, seed=str(seed)) for seed in range(20)}) > 10


def test_the_same_schema_gives_the_same_instance_in_every_process() -> None:
    schema = {"type": "string", "pattern": "^[^a-c]{9}\\W.$"}
    code = f"from crewyard_runtime.testing.schema import generate; print(generate({schema!r}))"
    answers = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            check=True,
            capture_output=True,
            timeout=60,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(answers) == 1
