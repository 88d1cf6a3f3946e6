"""A server in the place of Mem0's cloud, which costs money: as much of its protocol as `MemoryClient` speaks here.

Its protocol is that of July 2026 (v3). It reads filters as widely as Mem0 does, and it can be told to answer wrongly.
"""

import json
import threading
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

Json = dict[str, Any]


class Mem0Server:
    """Holds memories of several users under one key.

    leaking: it returns everybody's, whatever the filter. anonymous: it does not say whose a memory is. late: an `add`
    is put off. failure: the status of each answer. delay: seconds before each answer. broken: its JSON is cut off.
    requests: what was asked, as method, path and body.
    """

    def __init__(self, key: str) -> None:
        self.key = key
        self.memories: dict[str, Json] = {}
        self.requests: list[tuple[str, str, Json]] = []
        self.leaking = self.anonymous = self.late = self.broken = False
        self.failure: int | None = None
        self.delay = 0.0
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._http.daemon_threads = True
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._http.server_port}"

    def put(self, user_id: str, text: str, days: float = 0, metadata: Json | None = None) -> str:
        """Keep a memory of that age, and return its id."""
        id, at = str(uuid.uuid4()), (datetime.now(UTC) - timedelta(days=days)).isoformat()
        self.memories[id] = {
            "id": id,
            "memory": text,
            "user_id": user_id,
            "metadata": metadata,
            "created_at": at,
            "updated_at": at,
        }
        return id

    def of(self, user_id: str) -> list[str]:
        """The texts of one user."""
        return [each["memory"] for each in self.memories.values() if each["user_id"] == user_id]

    def close(self) -> None:
        """Listen no more."""
        self._http.shutdown()
        self._http.server_close()

    def answer(self, method: str, target: str, body: Json) -> tuple[int, Any]:
        """The status and the body of one answer."""
        path, query = (
            urlsplit(target).path,
            {key: values[0] for key, values in parse_qs(urlsplit(target).query).items()},
        )
        match method, path.strip("/").split("/"):
            case "GET", ["v1", "ping"]:
                return 200, {"status": "ok", "org_id": "org", "project_id": "project", "user_email": "us@example.com"}
            case "POST", ["v3", "memories", "add"]:
                return 200, self._add(body)
            case "POST", ["v3", "memories", "search"]:
                return 200, {"results": self._search(body)}
            case "POST", ["v3", "memories"]:
                return 200, self._page(body, int(query.get("page", 1)), int(query.get("page_size", 100)))
            case "GET", ["v1", "memories", id] if unquote(id) in self.memories:
                return 200, self._shown(self.memories[unquote(id)])
            case "DELETE", ["v1", "memories", id] if unquote(id) in self.memories:
                return 200, self._delete([unquote(id)])
            case "DELETE", ["v1", "memories"] if query:
                return 200, self._delete([each["id"] for each in self._filtered(query)])
            case "DELETE", ["v1", "batch"]:
                return 200, self._delete([each["memory_id"] for each in body["memories"]])
        return 404, {"detail": "Not found."}

    def _add(self, body: Json) -> Json:
        if self.late:
            return {"event_id": str(uuid.uuid4()), "status": "PENDING"}
        assert body["infer"] is False
        text = body["messages"][0]["content"]
        id = self.put(body["user_id"], text, metadata=body.get("metadata"))
        result = {"id": id, "data": {"memory": text}, "event": "ADD"}
        return {"message": "Stored.", "event_id": str(uuid.uuid4()), "status": "SUCCEEDED", "results": [result]}

    def _search(self, body: Json) -> list[Json]:
        asked = set(body["query"].lower().split())

        def alike(memory: Json) -> float:
            said = set(memory["memory"].lower().split())
            return len(asked & said) / len(asked | said)

        found = sorted(self._filtered(body["filters"]), key=alike, reverse=True)[: body.get("top_k", 10)]
        return [{**self._shown(each), "score": alike(each)} for each in found]

    def _page(self, body: Json, page: int, size: int) -> Json:
        found = [self._shown(each) for each in self._filtered(body["filters"])]
        size = min(size, 200)
        more = len(found) > page * size
        after = f"{self.url}/v3/memories/?page={page + 1}" if more else None
        return {"count": len(found), "next": after, "previous": None, "results": found[(page - 1) * size : page * size]}

    def _delete(self, ids: list[str]) -> Json:
        for id in ids:
            self.memories.pop(id, None)
        return {"message": "Memories deleted successfully!"}

    def _filtered(self, filters: Json) -> Iterator[Json]:
        for memory in list(self.memories.values()):
            if self.leaking or _matches(memory, filters):
                yield memory

    def _shown(self, memory: Json) -> Json:
        return {key: value for key, value in memory.items() if not (self.anonymous and key == "user_id")}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # the head and the body in one packet, or else the client waits 40 ms for the second one

            def do(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
                server.requests.append((self.command, self.path, body))
                time.sleep(server.delay)
                self.reply(*self.choose(body))

            do_GET = do_POST = do_DELETE = do  # noqa: N815

            def choose(self, body: Json) -> tuple[int, Any]:
                if server.failure is not None:
                    return server.failure, {"detail": "told to fail"}
                if self.headers.get("Authorization") != f"Token {server.key}":
                    return 401, {"detail": "Invalid API key."}
                return server.answer(self.command, self.path, body)

            def reply(self, status: int, body: Any) -> None:
                data = json.dumps(body).encode()
                data = data[: len(data) // 2] if server.broken else data
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)
                self.wfile.flush()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        return Handler


def _matches(memory: Json, filters: Json) -> bool:
    return all(
        all(_matches(memory, each) for each in wanted) if name == "AND" else _matches_one(memory.get(name), wanted)
        for name, wanted in filters.items()
    )


def _matches_one(value: Any, wanted: Any) -> bool:
    match wanted:
        case "*":
            return value is not None
        case list() as several:
            return value in several
        case {"in": several}:
            return value in several
        case {"nin": several}:
            return value not in several
        case {"ne": other}:
            return bool(value != other)
        case {"lt": limit}:
            return datetime.fromisoformat(value) < datetime.fromisoformat(limit)
        case {"contains": part} | {"icontains": part}:
            return part in value
    return bool(value == wanted)
