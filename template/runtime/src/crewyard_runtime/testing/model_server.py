"""A server that speaks OpenAI's protocol and plays a model, for demos and tests: no key, no network, nothing random.

`with ModelServer() as server:` serves on `server.url` until the block ends, and
`python -m crewyard_runtime.testing.model_server --port 8000` until Ctrl-C: POST /v1/chat/completions and
/v1/embeddings, GET /v1/models. The same request gets the same answer (see `replies`), unless it is told otherwise:

POST /control/faults {"kind": ..., "times": n}: what happens to the next n calls of /v1/* (1; null: until cleared).
  rate_limit   429 with `Retry-After: retry_after` (seconds, 1)
  error        `status` (500) and `message`
  slow         the right answer after `seconds` (1)
  broken_json  200 with a body that is cut off
  drop         the connection is closed without an answer; that of a stream, half-way
  empty        200 with an empty content
POST /control/replies {"content": "..."} or {"tool": "name", "arguments": {...}}, and "times": n: the next n answers.
  One with a tool waits for a request that offers that tool.
GET /control/requests: the newest 10,000 calls of /v1/*, each {"path", "headers", "body", "status"}. The status is 0
  while there is no answer, and stays 0 after a drop. Keys are redacted.
DELETE /control/faults, /control/replies, /control/requests: forgets them.

Looked at instead: llmock 0.2.2, fakellm 0.3.5, mock-ai-api 0.1.1, ai-mock 0.3.1, openai-responses 0.13.1. They bring a
web framework or patch the client; only llmock answers by the schema that is sent, but it ignores `pattern`, validates
nothing and answers an unsupported schema wrongly.
"""

import argparse
import contextlib
import json
import math
import signal
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any

from crewyard_runtime.testing.replies import Refused, Reply, chat_reply, chunks, completion, embeddings, field, models

MAX_BODY = 20 * 1024 * 1024
HOST = "127.0.0.1"
MAX_RECORDS = 10_000
FAULTS: dict[str, dict[str, Any]] = {
    "rate_limit": {"retry_after": 1},
    "error": {"status": 500, "message": "The server had an error, as it was told to."},
    "slow": {"seconds": 1},
    "broken_json": {},
    "drop": {},
    "empty": {},
}
RANGES = {"retry_after": (0, 3600), "seconds": (0, 3600), "status": (400, 599)}
SECRET_HEADERS = {"authorization", "proxy-authorization", "api-key", "x-api-key", "cookie"}


class _Orders:
    """What the server was told to do, in order, and how often still (None: for ever). The server's lock guards it."""

    def __init__(self) -> None:
        self._orders: list[tuple[Any, int | None]] = []

    def add(self, order: Any, times: Any) -> None:
        if times is not None and (not isinstance(times, int) or isinstance(times, bool) or times < 1):
            msg = f"'times' is {times!r}: it must be a whole number from 1, or null for ever."
            raise Refused(msg, "times")
        self._orders.append((order, times))

    def take(self, suits: Callable[[Any], bool]) -> Any:
        for place, (order, times) in enumerate(self._orders):
            if suits(order):
                self._orders[place : place + 1] = [] if times == 1 else [(order, times and times - 1)]
                return order
        return None

    def clear(self) -> None:
        self._orders.clear()


class ModelServer:
    """Serves in threads of this process. port: 0 takes a free one, anew at every start."""

    def __init__(self, port: int = 0, host: str = HOST) -> None:
        self._address = host, port
        self._http: _Http | None = None
        self._thread = threading.Thread()
        self._lock = threading.Lock()
        self._records: deque[dict[str, Any]] = deque(maxlen=MAX_RECORDS)
        self._faults, self._replies = _Orders(), _Orders()

    def start(self) -> "ModelServer":
        """Serve until `stop`; raises OSError if the port is taken."""
        if self._http is None:
            self._http = _Http(self._address, self)
            self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)
            self._thread.start()
        return self

    def stop(self) -> None:
        """Close the port and every connection; what was recorded can still be read."""
        http, self._http = self._http, None
        if http is not None:
            http.close()
            self._thread.join()

    def __enter__(self) -> "ModelServer":
        return self.start()

    def __exit__(self, *error: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The base URL for an OpenAI client; raises RuntimeError while the server does not run."""
        if self._http is None:
            msg = "The model server is not running: call start() or use it in a with statement."
            raise RuntimeError(msg)
        return f"http://{HOST}:{self._http.server_address[1]}/v1"

    @property
    def requests(self) -> list[dict[str, Any]]:
        """The recorded calls of /v1/*, the oldest first: "path", "headers" (lower-cased), "body", "status" and "at".

        "at" is when the call came, in seconds since the epoch.
        """
        with self._lock:
            return [dict(record) for record in self._records]

    def fail(self, /, kind: str, times: int | None = 1, **details: Any) -> None:
        """Let the next calls fail, as POST /control/faults does; raises ValueError for a wrong kind or detail."""
        fault = _fault(kind, details)
        with self._lock:
            self._faults.add(fault, times)

    def reply(
        self,
        content: str | None = None,
        times: int | None = 1,
        *,
        tool: str | None = None,
        arguments: dict[str, Any] | None = None,
    ) -> None:
        """Script the next answers, as POST /control/replies does; raises ValueError unless one of both is given."""
        if (content is None) == (tool is None):
            msg = "Give either 'content' or 'tool'."
            raise Refused(msg)
        with self._lock:
            self._replies.add(Reply(content or "", tool, arguments or {}), times)

    def clear(self, *what: str) -> None:
        """Forget "faults", "replies" or "requests"; all three if none is named."""
        forget = {"faults": self._faults.clear, "replies": self._replies.clear, "requests": self._records.clear}
        with self._lock:
            for name in what or forget:
                forget[name]()

    def _record(self, path: str, headers: Iterable[tuple[str, str]]) -> tuple[dict[str, Any], dict[str, Any]]:
        """The record of a call that begins, and the fault that it gets (its kind is "" for none)."""
        shown = {name.lower(): "(redacted)" if name.lower() in SECRET_HEADERS else value for name, value in headers}
        record = {"path": path, "headers": shown, "body": None, "status": 0, "at": time.time()}
        with self._lock:
            self._records.append(record)
            return record, self._faults.take(lambda fault: True) or {"kind": ""}

    def _scripted(self, tools: Iterable[str]) -> Reply | None:
        with self._lock:
            reply: Reply | None = self._replies.take(lambda reply: reply.tool is None or reply.tool in tools)
            return reply

    def _control(self, method: str, path: str, body: Any) -> Any:
        name = path.removeprefix("/control/")
        if method == "DELETE" and name in ("faults", "replies", "requests"):
            self.clear(name)
        elif (method, name) == ("GET", "requests"):
            return self.requests
        elif (method, name) == ("POST", "faults"):
            self.fail(**{"kind": None, **body})
        elif (method, name) == ("POST", "replies"):
            content, tool = field(body, "content", str, None), field(body, "tool", str, None)
            self.reply(content, body.get("times", 1), tool=tool, arguments=field(body, "arguments", dict, {}))
        else:
            raise _unknown(method, path)
        return {"ok": True}


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], owner: ModelServer) -> None:
        self.owner = owner
        self.stopping = threading.Event()
        self._connections: set[socket.socket] = set()
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        # HTTPServer's asks the DNS for the name of the host, which can take seconds.
        TCPServer.server_bind(self)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def close(self) -> None:
        self.stopping.set()
        self.shutdown()
        self.server_close()
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    server: _Http
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        path = self.path.partition("?")[0]
        if path.startswith("/v1/"):
            self._model_call(path)
            return
        try:
            status, answer = 200, self.server.owner._control(self.command, path, self._body())
        except Refused as error:
            status, answer = error.status, _error(error)
        self._send(status, json.dumps(answer))

    def _model_call(self, path: str) -> None:
        record, fault = self.server.owner._record(path, self.headers.items())
        headers, status, stream = {}, 200, False
        try:
            body = record["body"] = self._body()
            if fault["kind"] == "slow" and self.server.stopping.wait(fault["seconds"]):
                self.close_connection = True
                return
            if fault["kind"] == "rate_limit":
                headers["Retry-After"] = f"{fault['retry_after']:g}"
            answer = self._answer(path, body, fault)
            stream = isinstance(answer, list)
        except Refused as error:
            status, answer = error.status, _error(error)
        if fault["kind"] == "drop" and not stream:
            self.close_connection = True
            return
        if fault["kind"] != "drop":
            record["status"] = status
        if stream:
            self._stream([json.dumps(chunk) for chunk in answer], fault["kind"])
        else:
            text = json.dumps(answer)
            self._send(status, text[: len(text) // 2] if fault["kind"] == "broken_json" else text, headers)

    def _answer(self, path: str, body: Any, fault: dict[str, Any]) -> Any:
        """The object to answer, or the list of a stream's objects."""
        match fault["kind"]:
            case "rate_limit":
                msg = "Rate limit reached, as the server was told."
                raise Refused(msg, status=429)
            case "error":
                raise Refused(fault["message"], status=fault["status"])
        match self.command, path:
            case "POST", "/v1/chat/completions":
                # A script is for answers that arrive.
                lost = fault["kind"] in ("drop", "empty")
                reply = chat_reply(body, (lambda tools: None) if lost else self.server.owner._scripted)
                if fault["kind"] == "empty":
                    reply = Reply()
                return list(chunks(body, reply)) if field(body, "stream", bool, False) else completion(body, reply)
            case "POST", "/v1/embeddings":
                answer = embeddings(body)
            case "GET", "/v1/models":
                answer = models()
            case _:
                raise _unknown(self.command, path)
        return {**answer, "data": []} if fault["kind"] == "empty" else answer

    def _body(self) -> Any:
        length = self.headers.get("Content-Length", "0")
        if not length.isdecimal() or "Transfer-Encoding" in self.headers:
            self.close_connection = True
            msg = "The request must say the length of its body in Content-Length."
            raise Refused(msg, status=411)
        left = int(length)
        if left > MAX_BODY:
            self.close_connection = True
            # Read to the end, or the client would see a reset instead of the answer.
            while left > 0 and (part := self.rfile.read(min(left, MAX_BODY))):
                left -= len(part)
            msg = f"The body is larger than {MAX_BODY} bytes."
            raise Refused(msg, status=413)
        data = self.rfile.read(left)
        try:
            body = json.loads(data or b"{}", parse_constant=_finite, parse_float=_finite)
        except (ValueError, RecursionError) as error:
            msg = f"The body is not JSON: {error}."
            raise Refused(msg) from None
        if not isinstance(body, dict):
            msg = "The body must be a JSON object."
            raise Refused(msg)
        return body

    def _send(self, status: int, text: str, headers: dict[str, str] | None = None) -> None:
        data = text.encode()
        self.send_response(status)
        headers = {"Content-Type": "application/json", "Content-Length": str(len(data)), **(headers or {})}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def _stream(self, chunks: list[str], fault: str) -> None:
        """Server-sent events, in a chunked body, so that a client can tell a dropped stream from a whole one."""
        if fault == "drop":
            chunks = chunks[: len(chunks) // 2]
        if fault == "broken_json":
            chunks[-1] = chunks[-1][: len(chunks[-1]) // 2]
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for chunk in chunks if fault == "drop" else [*chunks, "[DONE]"]:
            event = f"data: {chunk}\n\n".encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
        if fault == "drop":
            self.close_connection = True
        else:
            self.wfile.write(b"0\r\n\r\n")

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: `/control/requests` tells what was called."""


for _method in ("GET", "DELETE", "PUT", "PATCH"):
    setattr(_Handler, f"do_{_method}", _Handler.do_POST)


def _fault(kind: Any, details: dict[str, Any]) -> dict[str, Any]:
    if kind not in FAULTS:
        msg = f"'kind' is {kind!r}: it must be one of {', '.join(FAULTS)}."
        raise Refused(msg, "kind")
    for name, value in details.items():
        if name not in FAULTS[kind]:
            msg = f"{name!r} is no detail of {kind}: it has {', '.join(FAULTS[kind]) or 'none'}."
            raise Refused(msg, name)
        low, high = RANGES.get(name, (0, 0))
        number = isinstance(value, int | float if name != "status" else int) and not isinstance(value, bool)
        if not (isinstance(value, str) if name == "message" else number and low <= value <= high):
            msg = f"{name!r} is {value!r}: it must be {'a string' if name == 'message' else f'{low} to {high}'}."
            raise Refused(msg, name)
    return {"kind": kind, **FAULTS[kind], **details}


def _error(error: Refused) -> dict[str, Any]:
    kind = "server_error" if error.status >= 500 else "invalid_request_error"
    if error.status == 429:
        kind = "rate_limit_exceeded"
    return {"error": {"message": str(error), "type": kind, "param": error.param, "code": None}}


def _unknown(method: str, path: str) -> Refused:
    return Refused(f"Unknown request: {method} {path}", status=404)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        msg = f"{text} is no JSON number"
        raise ValueError(msg)
    return number


def main() -> None:
    """Serve in the foreground until Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m crewyard_runtime.testing.model_server")
    parser.add_argument("--port", type=int, default=0, help="the port; 0, the default, takes a free one")
    parser.add_argument("--host", default=HOST, help=f"the address to listen on (default {HOST})")
    stops = (signal.SIGINT, signal.SIGTERM)
    signal.pthread_sigmask(signal.SIG_BLOCK, stops)  # a signal that came just before a wait would not end it
    try:
        given = parser.parse_args()
        server = ModelServer(given.port, given.host).start()
    except OSError as error:
        sys.exit(f"The model server cannot start: {error}. Give another --port.")
    with server:
        print(server.url, flush=True)
        signal.sigwait(stops)


if __name__ == "__main__":
    main()
