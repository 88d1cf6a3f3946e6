"""Inputs for demos and tests of any application: its examples, or instances of its input model; marked if asked."""

import json
import secrets
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from crewyard_runtime.application import Application
from crewyard_runtime.testing.schema import generate

SEEDS = 50  # tries to make an input that the application's model takes


def example_inputs(application: Application, count: int) -> list[str]:
    """`count` inputs as JSON text, fewer if the examples are fewer; made from the schema if there are none."""
    lines = application.example_lines()[:count]
    if lines:
        return lines
    return [_generated(application, number) for number in range(count)]


def _generated(application: Application, number: int) -> str:
    """An input that the model takes: a schema says less than its model (digits of a decimal, validators)."""
    schema = application.input.model_json_schema()
    texts = (json.dumps(generate(schema, seed=f"{number}.{again}")) for again in range(SEEDS))
    return next(
        (text for text in texts if _is_valid(application, text)), json.dumps(generate(schema, seed=str(number)))
    )


def _is_valid(application: Application, text: str) -> bool:
    try:
        application.input.model_validate_json(text)
    except ValidationError:
        return False
    return True


def new_canary() -> str:
    """A token that occurs nowhere else."""
    return f"canary-{secrets.token_hex(8)}"


def marked_inputs(application: Application, count: int) -> list[tuple[str | None, Any]]:
    """`count` pairs of a canary and an input that carries it. The canary is None where no text field can hold one."""
    examples = [json.loads(text) for text in example_inputs(application, count)]
    return [_marked(application, examples[number % len(examples)]) for number in range(count)]


def leaks(canaries: Sequence[str | None], results: Sequence[str]) -> list[str]:
    """A sentence for each result that carries the canary of another run; both are in the order of the runs."""
    return [
        f"the result of run {mine + 1} carries the data of run {other + 1}"
        for mine, result in enumerate(results)
        for other, canary in enumerate(canaries)
        if other != mine and canary and canary in result
    ]


def mixed_prompts(canaries: Sequence[str | None], prompts: Sequence[str]) -> list[str]:
    """A sentence for each prompt that carries the canaries of several runs."""
    held = [sum(canary in prompt for canary in canaries if canary) for prompt in prompts]
    return [f"a prompt carries the data of {count} runs" for count in held if count > 1]


def _marked(application: Application, data: Any) -> tuple[str | None, Any]:
    canary = new_canary()
    for path in _text_paths(data):
        for marked in (_replaced(data, path, lambda old: f"{old} {canary}"), _replaced(data, path, lambda old: canary)):
            try:
                kept = application.input.model_validate(marked).model_dump_json()
            except ValidationError:
                continue
            if canary in kept:
                return canary, marked
    return None, data


def _text_paths(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The places of all texts, the longest text first: it is the likeliest to reach a prompt."""
    if isinstance(data, str):
        return [path]
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    found = [place for key, value in items for place in _text_paths(value, (*path, key))]
    return sorted(found, key=lambda place: -len(_at(data, place[len(path) :])))


def _at(data: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        data = data[key]
    return data


def _replaced(data: Any, path: tuple[Any, ...], change: Any) -> Any:
    if not path:
        return change(data)
    copy = list(data) if isinstance(data, list) else dict(data)
    copy[path[0]] = _replaced(data[path[0]], path[1:], change)
    return copy
