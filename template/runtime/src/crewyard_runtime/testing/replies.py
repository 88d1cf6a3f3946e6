"""What the model server answers to a request, as a function of the request alone.

It plays a model with which agents get to the end: each offered tool is called once, in order, then comes the answer.
The answer is an instance of the JSON Schema that is asked for (in `response_format`, or in the words of the prompt), or
else words of the user's last message. Booleans in it are true, so that a guardrail in words (`valid: bool`) passes.
"""

import base64
import hashlib
import json
import re
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from math import sqrt
from typing import Any

from crewyard_runtime.testing.echo import Echo, text_of
from crewyard_runtime.testing.schema import UnsupportedSchema, generate

Json = dict[str, Any]

CREATED = 1_767_225_600  # 2026-01-01: the same request always gives the same answer
MODELS = ("gpt-4o", "gpt-4o-mini", "text-embedding-3-small")
ARGUMENT_WORDS = 8
ANSWER_WORDS = 25
# "... according to the following OpenAPI schema: {" of CrewAI, but not the "Tool Arguments: {" of its ReAct prompts.
PROSE_SCHEMA = re.compile(r"(?i)schema[^{}]{0,80}(?=\{)")
TYPE_NAMES = {str: "a string", list: "a list", dict: "an object", int: "an integer", bool: "true or false"}


class Refused(ValueError):
    """The request is wrong: the message says how, `param` names the field, `status` is the one of HTTP."""

    def __init__(self, message: str, param: str | None = None, status: int = 400) -> None:
        super().__init__(message)
        self.param, self.status = param, status


@dataclass(frozen=True)
class Reply:
    """One answer of the model: a text, or the call of a tool."""

    content: str = ""
    tool: str | None = None
    arguments: Any = None


def field(holder: Any, path: str, kind: type, default: Any = ...) -> Any:
    """The field that the last part of the dotted path names, if it has this type; the default if absent or null."""
    name = path.rpartition(".")[2]
    value = holder.get(name) if isinstance(holder, dict) else None
    if value is None and default is not ...:
        return default
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        msg = f"'{path}' is {'missing' if value is None else 'wrong'}: it must be {TYPE_NAMES[kind]}."
        raise Refused(msg, path)
    return value


def chat_reply(body: Json, scripted: Callable[[Iterable[str]], Reply | None]) -> Reply:
    """The answer to a chat completion: what `scripted` has for the offered tools, else a generated one.

    Raises Refused for a request that OpenAI would refuse, or whose schema is not supported.
    """
    if field(body, "n", int, 1) != 1:
        msg = "'n' must be 1: this server gives one choice."
        raise Refused(msg, "n")
    messages, tools = _messages(body), _tools(body)
    choice, schema = _tool_choice(body, tools), _response_schema(body)
    return scripted(tools if choice != "none" else ()) or _generated(messages, tools, choice, schema)


def _messages(body: Json) -> list[Json]:
    messages: list[Json] = field(body, "messages", list)
    if not messages:
        msg = "'messages' is empty: it must hold at least one message."
        raise Refused(msg, "messages")
    for n, message in enumerate(messages):
        field(message, f"messages[{n}].role", str)
        content = message.get("content")
        parts = content if isinstance(content, list) else []
        if not isinstance(content, str | list | None) or not all(isinstance(part, dict) for part in parts):
            msg = f"'messages[{n}].content' is wrong: it must be a string or a list of objects."
            raise Refused(msg, f"messages[{n}].content")
        for call in field(message, f"messages[{n}].tool_calls", list, []):
            field(field(call, f"messages[{n}].tool_calls.function", dict), "messages.tool_calls.function.name", str)
    return messages


def _tools(body: Json) -> dict[str, Any]:
    tools = {}
    for n, tool in enumerate(field(body, "tools", list, [])):
        function = field(tool, f"tools[{n}].function", dict)
        tools[field(function, f"tools[{n}].function.name", str)] = function.get("parameters")
    return tools


def _tool_choice(body: Json, tools: dict[str, Any]) -> str:
    """ "auto", "none", "required", or "=" and the name of the tool to call."""
    choice = body.get("tool_choice") or "auto"
    if isinstance(choice, dict):
        name = field(field(choice, "tool_choice.function", dict), "tool_choice.function.name", str)
        if name in tools:
            return f"={name}"
    elif choice in ("auto", "none") or (choice == "required" and tools):
        return str(choice)
    msg = '\'tool_choice\' is wrong: it must be "none", "auto", or (with tools) "required" or one of the tools\' names.'
    raise Refused(msg, "tool_choice")


def _response_schema(body: Json) -> Any:
    """The schema that `response_format` asks the answer to satisfy; None for a free text."""
    wanted = field(body, "response_format", dict, {"type": "text"})
    match wanted.get("type"):
        case "text":
            return None
        case "json_object":
            return {"type": "object", "properties": {"answer": {"type": "string"}}}
        case "json_schema":
            return field(field(wanted, "response_format.json_schema", dict), "response_format.json_schema.schema", dict)
    msg = "'response_format.type' is wrong: it must be text, json_object or json_schema."
    raise Refused(msg, "response_format.type")


def _generated(messages: list[Json], tools: dict[str, Any], choice: str, schema: Any) -> Reply:
    echo = Echo.of(messages)
    tool = _next_tool(messages[echo.turn + 1 :], list(tools), choice)
    if tool:
        arguments = _instance(tools[tool] or {"type": "object"}, f"tools.{tool}.parameters", echo, ARGUMENT_WORDS)
        return Reply(tool=tool, arguments=arguments)
    if schema is not None:
        return Reply(json.dumps(_instance(schema, "response_format", echo, ANSWER_WORDS), ensure_ascii=False))
    asked = "\n".join(text_of(message) for message in messages if message["role"] not in ("assistant", "tool"))
    schema = _prose_schema(asked)
    if schema is not None:
        text = json.dumps(_instance(schema, "the schema in the messages", echo, ANSWER_WORDS), ensure_ascii=False)
    else:
        text = echo.text(ANSWER_WORDS)
    react = "Thought:" in asked and "Final Answer:" in asked
    return Reply(f"Thought: I now can give a great answer\nFinal Answer: {text}" if react else text)


def _next_tool(turn: list[Json], tools: list[str], choice: str) -> str | None:
    if choice.startswith("="):
        return choice[1:]
    called = {call["function"]["name"] for message in turn for call in message.get("tool_calls") or []}
    left = [name for name in tools if name not in called]
    if choice == "required":
        return (left or tools)[0]
    return left[0] if left and choice == "auto" else None


def _instance(schema: Any, param: str, echo: Echo, words: int) -> Any:
    try:
        return generate(schema, partial(echo.text, words), seed=echo.seed)
    except UnsupportedSchema as error:
        msg = f"Invalid schema in {param}: {error}"
        raise Refused(msg, param) from None


def _prose_schema(text: str) -> Json | None:
    """The last JSON Schema of an object that a prompt announces as its schema."""
    found = None
    for match in PROSE_SCHEMA.finditer(text):
        try:
            value, _ = json.JSONDecoder().raw_decode(text, match.end())
        except ValueError:
            continue
        value = value.get("json_schema", value)
        value = value.get("schema", value) if isinstance(value, dict) else {}
        if isinstance(value, dict) and (isinstance(value.get("properties"), dict) or "$ref" in value):
            found = value
    return found


def completion(body: Json, reply: Reply) -> Json:
    """OpenAI's chat completion object of a reply. Four characters count as a token."""
    called = reply.tool is not None
    said = json.dumps(reply.arguments) if called else reply.content
    message: Json = {"role": "assistant", "content": None if called else said, "refusal": None}
    if called:
        function = {"name": reply.tool, "arguments": said}
        message["tool_calls"] = [{"id": f"call_{_digest(body)}", "type": "function", "function": function}]
    finish = "tool_calls" if called else "stop"
    return {
        **_head(body, "chat.completion"),
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish}],
        "usage": _usage(json.dumps([body["messages"], body.get("tools")]), said),
    }


def chunks(body: Json, reply: Reply) -> Iterator[Json]:
    """The same completion as the objects of a stream; the last one has the usage if `stream_options` asks for it."""
    whole = completion(body, reply)
    message = whole["choices"][0]["message"]
    deltas: list[Json] = [{"role": "assistant", "content": message["content"] and ""}]
    if reply.tool is None:
        deltas += [{"content": piece} for piece in re.findall(r"\s*\S+|\s+", reply.content)]
    else:
        call = message["tool_calls"][0]
        said = call["function"]["arguments"]
        first = {**call, "index": 0, "function": {**call["function"], "arguments": ""}}
        deltas.append({"tool_calls": [first]})
        pieces = [said[start : start + 16] for start in range(0, len(said), 16)]
        deltas += [{"tool_calls": [{"index": 0, "function": {"arguments": piece}}]} for piece in pieces]
    head = _head(body, "chat.completion.chunk")
    for delta in deltas:
        yield {**head, "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}]}
    yield {**head, "choices": [{**whole["choices"][0], "delta": {}, "message": None}]}
    if field(field(body, "stream_options", dict, {}), "stream_options.include_usage", bool, False):
        yield {**head, "choices": [], "usage": whole["usage"]}


def embeddings(body: Json) -> Json:
    """OpenAI's list of embeddings: unit vectors in which texts that share words, or parts of words, are near."""
    given = body.get("input")
    texts = given if isinstance(given, list) and not all(isinstance(part, int) for part in given) else [given]
    if not texts or not all(isinstance(text, str | list) and text for text in texts):
        msg = "'input' is wrong: it must be a text, a list of texts, or tokens, and not empty."
        raise Refused(msg, "input")
    size, form = field(body, "dimensions", int, 1536), field(body, "encoding_format", str, "float")
    if not 1 <= size <= 4096 or form not in ("float", "base64"):
        msg = "'dimensions' must be 1 to 4096, and 'encoding_format' float or base64."
        raise Refused(msg, "dimensions" if form in ("float", "base64") else "encoding_format")
    vectors = [_vector(text if isinstance(text, str) else json.dumps(text), size) for text in texts]
    packed = [base64.b64encode(struct.pack(f"<{size}f", *vector)).decode() for vector in vectors]
    data = [
        {"object": "embedding", "index": n, "embedding": packed[n] if form == "base64" else vectors[n]}
        for n in range(len(vectors))
    ]
    usage = _usage(json.dumps(texts), "")
    return {"object": "list", "data": data, "model": field(body, "model", str, MODELS[-1]), "usage": usage}


def models() -> Json:
    """OpenAI's list of models; a request may name any other."""
    return {
        "object": "list",
        "data": [{"id": name, "object": "model", "created": CREATED, "owned_by": "crewyard"} for name in MODELS],
    }


def _vector(text: str, size: int) -> list[float]:
    """Feature hashing (Weinberger et al., 2009) of the words and, at less weight, of their three-letter parts."""
    vector = [0.0] * size
    for word in re.findall(r"\w+", text.lower()) or [text]:
        padded = f" {word} "
        meaning = min(1.0, len(word) / 6) ** 2  # "the" and "of" say little
        for weight, feature in [(1.0, word), *((0.3, padded[n : n + 3]) for n in range(len(padded) - 2))]:
            number = int.from_bytes(hashlib.blake2b(feature.encode("utf-8", "replace"), digest_size=8).digest())
            vector[number // 2 % size] += weight * meaning if number % 2 else -weight * meaning
    length = sqrt(sum(value * value for value in vector))
    return [value / length for value in vector] if length else [1.0, *vector[1:]]


def _head(body: Json, kind: str) -> Json:
    model = field(body, "model", str, MODELS[1])
    return {"id": f"chatcmpl-{_digest(body)}", "object": kind, "created": CREATED, "model": model}


def _digest(body: Json) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:24]


def _usage(prompt: str, answer: str) -> Json:
    given, made = -(-len(prompt) // 4), max(1, -(-len(answer) // 4))
    return {"prompt_tokens": given, "completion_tokens": made, "total_tokens": given + made}
