"""The model server, called by the OpenAI client, by plain HTTP, and by CrewAI."""

import base64
import json
import math
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import httpx
import openai
import pytest
from crewyard_runtime.testing.echo import Echo
from crewyard_runtime.testing.model_server import MAX_BODY, MAX_RECORDS, ModelServer
from jsonschema import Draft202012Validator
from openai import OpenAI
from pydantic import BaseModel

MODEL = "gpt-4o-mini"
QUESTION = "What is the refund policy for damaged goods?"
CANARIES = "canary-0123456789ab canary-deadbeef"
SEARCH: Any = {
    "type": "function",
    "function": {
        "name": "search",
        "parameters": {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]},
    },
}
MAIL: Any = {"type": "function", "function": {"name": "send_mail"}}


class Verdict(BaseModel):
    valid: bool
    feedback: str | None
    kind: Literal["refund", "question", "complaint"]


@pytest.fixture(scope="module")
def running() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


@pytest.fixture
def server(running: ModelServer) -> Iterator[ModelServer]:
    yield running
    running.clear()


@pytest.fixture(scope="module")
def client(running: ModelServer) -> Iterator[OpenAI]:
    with OpenAI(base_url=running.url, api_key="sk-secret", max_retries=0, timeout=20) as client:
        yield client


@pytest.fixture(scope="module")
def http(running: ModelServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=running.url.removesuffix("/v1"), timeout=20) as http:
        yield http


def user(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


def chat(client: OpenAI, text: str = QUESTION, **options: Any) -> Any:
    return client.chat.completions.create(model=MODEL, messages=options.pop("messages", user(text)), **options)


def answer(client: OpenAI, text: str = QUESTION, **options: Any) -> str:
    content = chat(client, text, **options).choices[0].message.content
    assert isinstance(content, str)
    return content


def json_schema(schema: dict[str, Any]) -> Any:
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}


def until(condition: Callable[[], object], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        threading.Event().wait(0.002)


def test_an_answer_repeats_the_question_and_counts_tokens(server: ModelServer, client: OpenAI) -> None:
    found = chat(client)
    assert found.choices[0].message.content == QUESTION
    assert found.choices[0].finish_reason == "stop"
    assert found.usage.prompt_tokens > 0
    assert found.usage.completion_tokens == math.ceil(len(QUESTION) / 4)
    assert found.usage.total_tokens == found.usage.prompt_tokens + found.usage.completion_tokens


def test_the_same_request_gets_the_same_answer_whatever_came_between(server: ModelServer, http: httpx.Client) -> None:
    body = {"messages": user(QUESTION), "tools": [SEARCH], "model": "any-model"}
    first = http.post("/v1/chat/completions", json=body)
    http.post("/v1/chat/completions", json={"messages": user("Something else")})
    assert http.post("/v1/chat/completions", json=body).content == first.content


def test_canaries_of_all_messages_come_back_in_order_and_keys_do_not(server: ModelServer, client: OpenAI) -> None:
    messages = [
        {"role": "system", "content": f"Secret sk-proj-abc123. {CANARIES}"},
        {"role": "user", "content": [{"type": "text", "text": "My key is sk-live-xyz canary-00000000."}]},
        {"role": "assistant", "content": "canary-11111111"},
        {"role": "user", "content": f"Thanks. {QUESTION} key=sk-9"},
    ]
    text = answer(client, messages=messages)
    assert text.endswith(f"{QUESTION} {CANARIES} canary-00000000 canary-11111111")
    assert "sk-" not in text


CREWAI_TASK = f"""
Current Task: {QUESTION}

This is the expected criteria for your final answer: A
line.
you MUST return the actual complete content as the final answer, not a summary.

Provide your complete response:"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Acme sells chairs.\nWhich are in stock? Answer in two sentences.", "Acme sells chairs. Which are in stock?"),
        ("Which are in stock? Acme sells chairs.", "Acme sells chairs. Which are in stock?"),
        ("Answer briefly.", "Answer briefly."),
        ('Summarise this: {"a": [1]}', "Summarise this"),
        ("", "example"),
        (CREWAI_TASK, QUESTION),
    ],
)
def test_an_answer_repeats_what_the_user_asks_for(text: str, expected: str, client: OpenAI) -> None:
    assert answer(client, text) == expected


@pytest.mark.parametrize("canaries", [(), ("canary-deadbeef",), ("canary-deadbeef", "canary-00112233")])
@pytest.mark.parametrize("words", [(), ("a",), ("refund", "policy", "for", "goods")])
def test_a_text_keeps_its_length_and_differs_by_variant(words: tuple[str, ...], canaries: tuple[str, ...]) -> None:
    for low in range(60):
        for high in (low, low + 1, low + 5, math.inf):
            texts = [Echo(words, canaries).text(8, low=low, high=high, variant=variant) for variant in range(3)]
            assert all(low <= len(text) <= high for text in texts)
            assert high < 2 or len(set(texts)) == 3
            assert high < 15 or all(canary in texts[0] for canary in canaries[:1])


def test_a_stream_gives_the_same_text_and_its_usage_last(server: ModelServer, client: OpenAI) -> None:
    chunks = list(chat(client, stream=True, stream_options={"include_usage": True}))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1]) == answer(client)
    assert [chunk.choices[0].finish_reason for chunk in chunks[:-1]][-1] == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage.total_tokens > 0


def test_each_tool_is_called_once_then_comes_the_answer(server: ModelServer, client: OpenAI) -> None:
    messages, called = user(f"{QUESTION} canary-deadbeef"), []
    while calls := (message := chat(client, messages=messages, tools=[SEARCH, MAIL]).choices[0].message).tool_calls:
        called.append((calls[0].function.name, json.loads(calls[0].function.arguments)))
        result = {"role": "tool", "tool_call_id": calls[0].id, "content": "found canary-00112233"}
        messages = [*messages, message.model_dump(exclude_none=True), result]
    assert called == [("search", {"query": f"{QUESTION} canary-deadbeef"}), ("send_mail", {})]
    assert message.content == f"{QUESTION} canary-deadbeef canary-00112233"
    again = chat(client, messages=[*messages, *user("And for books?")], tools=[SEARCH]).choices[0]
    assert again.message.tool_calls[0].function.name == "search"
    assert again.finish_reason == "tool_calls"


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("none", None),
        ("auto", "search"),
        ("required", "search"),
        ({"type": "function", "function": {"name": "send_mail"}}, "send_mail"),
    ],
)
def test_the_tool_choice_is_kept(choice: Any, expected: str | None, client: OpenAI) -> None:
    calls = chat(client, tools=[SEARCH, MAIL], tool_choice=choice).choices[0].message.tool_calls
    assert (calls[0].function.name if calls else None) == expected


def test_a_streamed_tool_call_is_put_together_by_the_client(server: ModelServer, client: OpenAI) -> None:
    with client.chat.completions.stream(model=MODEL, messages=user(QUESTION), tools=[SEARCH]) as stream:
        for _ in stream:
            pass
        calls = stream.get_final_completion().choices[0].message.tool_calls
    assert calls is not None
    assert calls[0].function.name == "search"
    assert json.loads(calls[0].function.arguments) == {"query": QUESTION}


def test_a_parsed_answer_is_an_instance_of_the_model(server: ModelServer, client: OpenAI) -> None:
    found = client.chat.completions.parse(model=MODEL, messages=user(QUESTION), response_format=Verdict)
    verdict = found.choices[0].message.parsed
    assert verdict is not None
    assert verdict.valid
    assert verdict.feedback == QUESTION


def test_different_questions_pick_different_alternatives(server: ModelServer, client: OpenAI) -> None:
    schema = json_schema(Verdict.model_json_schema())
    kinds = {json.loads(answer(client, f"Question {n}", response_format=schema))["kind"] for n in range(20)}
    assert kinds == {"refund", "question", "complaint"}


def test_a_json_object_is_one(server: ModelServer, client: OpenAI) -> None:
    assert json.loads(answer(client, response_format={"type": "json_object"})) == {"answer": QUESTION}


@pytest.mark.parametrize("react", [False, True])
def test_a_schema_in_the_prompt_is_satisfied(react: bool, client: OpenAI) -> None:
    schema = Verdict.model_json_schema()
    text = (
        f"{QUESTION} Format your final answer according to the following OpenAPI schema: {json.dumps(schema, indent=2)}"
    )
    messages = [{"role": "system", "content": "Thought: ...\nFinal Answer: ..." if react else "-"}, *user(text)]
    head, _, content = answer(client, messages=messages).rpartition("Final Answer: ")
    assert head == ("Thought: I now can give a great answer\n" if react else "")
    Draft202012Validator(schema).validate(json.loads(content))


def test_the_arguments_in_a_prompt_of_tools_are_no_schema_of_the_answer(server: ModelServer, client: OpenAI) -> None:
    text = f"Tool Name: search\nTool Arguments: {json.dumps(SEARCH['function']['parameters'])}\n\n{QUESTION}"
    assert answer(client, text).endswith(QUESTION)


def cosine(one: list[float], two: list[float]) -> float:
    return sum(a * b for a, b in zip(one, two, strict=True))


def test_a_half_of_a_character_pair_does_no_harm(server: ModelServer, http: httpx.Client) -> None:
    body = {"messages": user("half\ud83d canary-deadbeef"), "response_format": json_schema({})}
    found = http.post("/v1/chat/completions", content=json.dumps(body)).json()
    assert json.loads(found["choices"][0]["message"]["content"]) == "half\ud83d canary-deadbeef"
    assert http.post("/v1/embeddings", content=json.dumps({"input": "\ud83d"})).status_code == 200


def test_embeddings_are_unit_vectors_and_like_texts_are_near(server: ModelServer, client: OpenAI) -> None:
    texts = [QUESTION, "refund policy of a damaged good", "The weather in Oslo tomorrow", "¿?"]
    vectors = [item.embedding for item in client.embeddings.create(model="any", input=texts).data]
    assert {len(vector) for vector in vectors} == {1536}
    assert [cosine(vector, vector) for vector in vectors] == pytest.approx([1, 1, 1, 1], abs=1e-5)
    assert cosine(vectors[0], vectors[1]) > 0.4 > 0.2 > cosine(vectors[0], vectors[2])


@pytest.mark.parametrize("given", [QUESTION, [QUESTION], [1, 2, 3], [[1, 2], [3]]])
def test_embeddings_honour_dimensions_and_encoding(given: Any, http: httpx.Client) -> None:
    body = {"input": given, "model": "any", "dimensions": 64}
    floats = http.post("/v1/embeddings", json=body).json()["data"]
    packed = http.post("/v1/embeddings", json={**body, "encoding_format": "base64"}).json()["data"]
    assert [item["index"] for item in floats] == list(range(len(floats)))
    unpacked = [list(struct.unpack("<64f", base64.b64decode(item["embedding"]))) for item in packed]
    assert unpacked == [pytest.approx(item["embedding"], abs=1e-6) for item in floats]


def test_the_models_are_listed(server: ModelServer, client: OpenAI) -> None:
    assert MODEL in [model.id for model in client.models.list()]


WRONG: list[tuple[str, Any, int, str]] = [
    ("/v1/chat/completions", {}, 400, "'messages' is missing"),
    ("/v1/chat/completions", {"messages": []}, 400, "'messages' is empty"),
    ("/v1/chat/completions", {"messages": "hello"}, 400, "'messages' is wrong: it must be a list"),
    ("/v1/chat/completions", {"messages": ["hello"]}, 400, "'messages[0].role' is missing"),
    ("/v1/chat/completions", {"messages": [{"role": "user", "content": 1}]}, 400, "'messages[0].content' is wrong"),
    ("/v1/chat/completions", {"messages": [{"role": "user", "content": [1]}]}, 400, "'messages[0].content' is wrong"),
    ("/v1/chat/completions", {"messages": user("x"), "n": 2}, 400, "'n' must be 1"),
    ("/v1/chat/completions", {"messages": user("x"), "stream": 1}, 400, "'stream' is wrong"),
    ("/v1/chat/completions", {"messages": user("x"), "model": 1}, 400, "'model' is wrong"),
    ("/v1/chat/completions", {"messages": user("x"), "tools": [{}]}, 400, "'tools[0].function' is missing"),
    ("/v1/chat/completions", {"messages": user("x"), "tool_choice": "required"}, 400, "'tool_choice' is wrong"),
    (
        "/v1/chat/completions",
        {"messages": user("x"), "response_format": {"type": "xml"}},
        400,
        "'response_format.type'",
    ),
    (
        "/v1/chat/completions",
        {"messages": user("x"), "response_format": json_schema({"properties": {"a": {"not": {}}}})},
        400,
        "#/properties/a: the keyword 'not'",
    ),
    ("/v1/embeddings", {"input": []}, 400, "'input' is wrong"),
    ("/v1/embeddings", {"input": "x", "dimensions": 0}, 400, "'dimensions'"),
    ("/v1/responses", {"input": "x"}, 404, "POST /v1/responses"),
    ("/control/faults", {"kind": "explode"}, 400, "rate_limit, error, slow, broken_json, drop, empty"),
    ("/control/faults", {"kind": "slow", "seconds": -1}, 400, "'seconds' is -1: it must be 0 to 3600"),
    ("/control/faults", {"kind": "error", "status": 200}, 400, "'status' is 200: it must be 400 to 599"),
    ("/control/faults", {"kind": "drop", "times": 0}, 400, "'times' is 0"),
    ("/control/faults", {"kind": "drop", "seconds": 1}, 400, "'seconds' is no detail of drop"),
    ("/control/replies", {"content": "x", "tool": "y"}, 400, "either 'content' or 'tool'"),
    ("/control/other", {}, 404, "POST /control/other"),
    ("/", {}, 404, "POST /"),
]


@pytest.mark.parametrize(("path", "body", "status", "told"), WRONG)
def test_a_wrong_request_is_refused_in_a_sentence(
    path: str, body: Any, status: int, told: str, server: ModelServer, http: httpx.Client
) -> None:
    found = http.post(path, json=body)
    assert found.status_code == status
    assert set(found.json()["error"]) == {"message", "type", "param", "code"}
    assert told in found.json()["error"]["message"]


@pytest.mark.parametrize("body", [b"{", b"[1]", b"\xff\xfe\x00", b'{"n": NaN}', b'{"n": 1e999}', b"[" * 100_000])
def test_a_body_that_is_no_json_object_is_refused(body: bytes, server: ModelServer, http: httpx.Client) -> None:
    assert http.post("/v1/chat/completions", content=body).status_code == 400


def test_a_body_that_is_too_large_is_refused(server: ModelServer, http: httpx.Client) -> None:
    assert http.post("/v1/chat/completions", content=b"x" * (MAX_BODY + 1)).status_code == 413
    assert [request["status"] for request in server.requests] == [413]


def test_a_rate_limit_names_the_wait_and_the_client_tries_again(server: ModelServer, client: OpenAI) -> None:
    server.fail("rate_limit", retry_after=0.01)
    with pytest.raises(openai.RateLimitError) as error:
        chat(client)
    assert error.value.response.headers["Retry-After"] == "0.01"
    server.fail("rate_limit", times=2, retry_after=0.01)
    assert answer(client.with_options(max_retries=2)) == QUESTION
    assert [request["status"] for request in server.requests] == [429, 429, 429, 200]


def test_an_error_has_the_status_and_message_it_was_given(server: ModelServer, client: OpenAI) -> None:
    server.fail("error", times=None, status=503, message="overloaded, marker-17")
    for _ in range(3):
        with pytest.raises(openai.InternalServerError, match="overloaded, marker-17"):
            chat(client)
    server.clear("faults")
    assert answer(client) == QUESTION
    assert [request["status"] for request in server.requests] == [503, 503, 503, 200]


@pytest.mark.parametrize("stream", [False, True])
def test_a_drop_is_a_lost_connection(stream: bool, server: ModelServer, client: OpenAI) -> None:
    server.fail("drop")
    with pytest.raises((openai.APIConnectionError, httpx.RemoteProtocolError)):
        list(chat(client, stream=stream))
    assert [request["status"] for request in server.requests] == [0]
    assert answer(client) == QUESTION


def test_a_stream_is_dropped_half_way(server: ModelServer, http: httpx.Client) -> None:
    server.fail("drop")
    body, parts = {"messages": user(QUESTION), "stream": True}, list[bytes]()
    with http.stream("POST", "/v1/chat/completions", json=body) as response, pytest.raises(httpx.RemoteProtocolError):
        parts.extend(response.iter_raw())
    assert b"What" in b"".join(parts)
    assert b"goods" not in b"".join(parts)


@pytest.mark.parametrize("stream", [False, True])
def test_broken_json_cannot_be_parsed(stream: bool, server: ModelServer, client: OpenAI) -> None:
    server.fail("broken_json")
    with pytest.raises(json.JSONDecodeError):
        list(chat(client, stream=stream))


@pytest.mark.parametrize("stream", [False, True])
def test_an_empty_answer_has_an_empty_content(stream: bool, server: ModelServer, http: httpx.Client) -> None:
    server.fail("empty")
    found = http.post("/v1/chat/completions", json={"messages": user(QUESTION), "tools": [SEARCH], "stream": stream})
    assert found.status_code == 200
    assert '"content": ""' in found.text
    assert "refund" not in found.text


def test_a_slow_answer_is_right_but_late(server: ModelServer, client: OpenAI) -> None:
    server.fail("slow", seconds=0.2)
    started = time.monotonic()
    assert answer(client) == QUESTION
    assert time.monotonic() - started >= 0.2
    server.fail("slow", seconds=30)
    with pytest.raises(openai.APITimeoutError):
        chat(client.with_options(timeout=0.1))


def test_a_server_that_stops_ends_a_slow_answer_at_once() -> None:
    with ModelServer() as server, ThreadPoolExecutor() as pool:
        server.fail("slow", seconds=600)
        call = pool.submit(httpx.post, f"{server.url}/chat/completions", json={"messages": user("x")}, timeout=60)
        until(lambda: server.requests)
        started = time.monotonic()
        server.stop()
        with pytest.raises(httpx.TransportError):
            call.result(timeout=5)
        assert time.monotonic() - started < 2


def test_replies_are_given_in_order_and_a_tool_waits_for_its_offer(server: ModelServer, client: OpenAI) -> None:
    server.reply(tool="search", arguments={"query": "scripted"})
    server.reply("first", times=2)
    server.reply("always", times=None)
    assert [answer(client) for _ in range(2)] == ["first", "first"]
    call = chat(client, tools=[SEARCH]).choices[0].message.tool_calls[0]
    assert json.loads(call.function.arguments) == {"query": "scripted"}
    assert answer(client, tools=[SEARCH]) == "always"
    server.clear("replies")
    assert answer(client) == QUESTION


def test_a_fault_does_not_use_up_a_scripted_reply(server: ModelServer, client: OpenAI) -> None:
    server.reply("scripted")
    server.fail("drop")
    with pytest.raises(openai.APIConnectionError):
        chat(client)
    assert answer(client) == "scripted"


def test_all_is_told_and_asked_over_http(server: ModelServer, client: OpenAI, http: httpx.Client) -> None:
    assert http.post("/control/faults", json={"kind": "error", "status": 500, "times": None}).status_code == 200
    assert http.post("/control/replies", json={"tool": "search", "arguments": {"query": "x"}}).status_code == 200
    assert http.post("/control/replies", json={"content": "scripted", "times": 1}).status_code == 200
    with pytest.raises(openai.InternalServerError):
        chat(client)
    http.delete("/control/faults")
    assert answer(client) == "scripted"
    http.delete("/control/replies")
    assert answer(client, tools=[MAIL], tool_choice="none") == QUESTION
    recorded = http.get("/control/requests").json()
    assert [request["status"] for request in recorded] == [500, 200, 200]
    assert recorded[0]["path"] == "/v1/chat/completions"
    assert recorded[0]["body"] == {"messages": user(QUESTION), "model": MODEL}
    assert recorded[0]["headers"]["authorization"] == "(redacted)"
    http.delete("/control/requests")
    assert server.requests == []


def test_the_record_keeps_the_newest_calls(server: ModelServer) -> None:
    for number in range(MAX_RECORDS + 3):
        server._record(f"/v1/{number}", [])
    paths = [request["path"] for request in server.requests]
    assert (len(paths), paths[0], paths[-1]) == (MAX_RECORDS, "/v1/3", f"/v1/{MAX_RECORDS + 2}")


def test_twenty_clients_at_once_each_get_their_own_answer_without_delay(server: ModelServer) -> None:
    together = threading.Barrier(20)

    def work(number: int) -> bool:
        with httpx.Client(base_url=server.url) as http:
            together.wait(timeout=20)
            for step in range(10):
                canary = f"canary-{number:04x}{step:04x}"
                found = http.post("/chat/completions", json={"messages": user(f"{QUESTION} {canary}")})
                if found.json()["choices"][0]["message"]["content"] != f"{QUESTION} {canary}":
                    return False
        return True

    with ThreadPoolExecutor(20) as pool:
        started = time.monotonic()
        assert all(pool.map(work, range(20)))
        assert time.monotonic() - started < 10
    assert len(server.requests) == 200


def test_a_connection_is_kept_alive_over_refused_requests(server: ModelServer) -> None:
    with httpx.Client(base_url=server.url) as http:
        streams = set()
        for body in ({"messages": user("x")}, {}, {"messages": user("y"), "stream": True}):
            found = http.post("/chat/completions", json=body)
            streams.add(found.extensions["network_stream"].get_extra_info("client_addr"))
    assert len(streams) == 1


def test_a_server_starts_again_and_has_no_url_while_it_is_stopped() -> None:
    server = ModelServer()
    for _ in range(2):
        with server:
            assert httpx.get(f"{server.url}/models").status_code == 200
        with pytest.raises(RuntimeError, match="not running"):
            _ = server.url
    server.stop()


def test_the_command_prints_its_url_and_serves_until_it_is_told_to_stop() -> None:
    command = [sys.executable, "-m", "crewyard_runtime.testing.model_server"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={"PYTHONPATH": ":".join(sys.path)}
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert httpx.get(f"{url}/models").status_code == 200
        process.terminate()
        assert process.wait(timeout=10) == 0


@pytest.fixture(scope="module")
def crewai() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CREWAI_DISABLE_TELEMETRY", "true")
        patch.setenv("CREWAI_TRACING_ENABLED", "false")
        patch.setenv("CREWAI_DISABLE_VERSION_CHECK", "true")
        yield pytest.importorskip("crewai")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("options", [{}, {"output_pydantic": Verdict}, {"guardrail": "It must be polite."}])
@pytest.mark.parametrize("with_tool", [False, True])
def test_a_crew_runs_to_its_end(
    stream: bool, native: bool, options: dict[str, Any], with_tool: bool, crewai: Any, server: ModelServer
) -> None:
    queries = []

    def search(query: str) -> str:
        """Search the documents."""
        queries.append(query)
        return "Within 14 days. canary-00112233"

    llm = crewai.LLM(model=f"openai/{MODEL}", base_url=server.url, api_key="x", stream=stream)
    if not native:
        object.__setattr__(llm, "supports_function_calling", lambda: False)
    tools = [crewai.tools.tool("search")(search)] if with_tool else []
    agent = crewai.Agent(role="Clerk", goal="help", backstory="patient", llm=llm, tools=tools)
    task = crewai.Task(description=QUESTION, expected_output="A paragraph.", agent=agent, **options)
    found = crewai.Crew(agents=[agent], tasks=[task]).kickoff()
    assert QUESTION in found.raw
    assert "Final Answer" not in found.raw
    assert queries == ([QUESTION] if with_tool and native else [])
    assert ("canary-00112233" in found.raw) == bool(queries)
    assert isinstance(found.pydantic, options.get("output_pydantic", type(None)))
    assert found.token_usage.total_tokens > 0
    assert {request["status"] for request in server.requests} == {200}
