"""A client of a gateway that keeps its connection, for measurements; for one thread."""

import json
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID


class Client:
    """url: of the gateway. key: an API key."""

    def __init__(self, url: str, key: str = "") -> None:
        self._connection = HTTPConnection(urlsplit(url).netloc, timeout=30)
        self._headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}

    def submit(self, data: dict[str, Any], application: str = "faulty") -> UUID:
        """Post a run and return its id. Raises RuntimeError if it was not accepted."""
        self._connection.request("POST", f"/runs/{application}", json.dumps(data), self._headers)
        reply = self._connection.getresponse()
        body = reply.read()
        if reply.status != 202:
            msg = f"A run was not accepted: {reply.status} {body.decode(errors='replace')[:500]}"
            raise RuntimeError(msg)
        return UUID(json.loads(body)["id"])
