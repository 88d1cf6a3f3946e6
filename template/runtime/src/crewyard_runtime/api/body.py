"""A request whose body is read within bounds: so many bytes, so many levels, nothing that only half is JSON."""

import json
import re
from typing import Any

from fastapi import Request
from pydantic_core import from_json
from starlette.types import Receive, Scope

from crewyard_runtime.api.problems import Refused

JSON_TYPE = re.compile(r"\s*application/(json|[^;\s]+\+json)\s*(;|$)", re.IGNORECASE)


class BoundedRequest(Request):
    """most_bytes: of the body. most_depth: of lists and objects within each other, at most 200."""

    def __init__(self, scope: Scope, receive: Receive, most_bytes: int, most_depth: int) -> None:
        super().__init__(scope, receive)
        self._most_bytes = most_bytes
        self._most_depth = most_depth
        self.content: Any = None
        self.canonical = ""  # the content as text, the same for whatever differs only in spaces and order

    async def body(self) -> bytes:
        """The body. Raises Refused: 415, and 413 without having read more than one piece too many."""
        if hasattr(self, "_body"):
            return self._body
        media_type = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type != "application/json" and not (
            media_type.startswith("application/") and media_type.endswith("+json")
        ):
            raise Refused(415, "The body is not declared as JSON: send the header Content-Type: application/json.")
        declared = self.headers.get("content-length", "0")
        if declared.isdecimal() and int(declared) > self._most_bytes:
            raise Refused(413, f"The body has {declared} bytes: send at most {self._most_bytes}.")
        read = bytearray()
        async for piece in self.stream():
            read += piece
            if len(read) > self._most_bytes:
                # Who declared no length may never stop sending.
                raise Refused(
                    413, f"The body is too large: send at most {self._most_bytes} bytes.", {"Connection": "close"}
                )
        self._body = bytes(read)
        return self._body

    async def json(self) -> Any:
        """The body's content. Raises Refused (422)."""
        try:
            # Refuses half characters ("\ud800"), NaN, and more than 200 levels; the parser of the standard library
            # takes the first two, and a deep body may exhaust the stack under it.
            self.content = from_json(await self.body(), allow_inf_nan=False)
            self.canonical = json.dumps(self.content, allow_nan=False, sort_keys=True)  # 1e999 is read as infinity
        except ValueError as error:
            raise Refused(422, f"The body is no JSON that can be taken: {error}.") from error
        if _depth(self.content, self._most_depth) > self._most_depth:
            raise Refused(422, f"The body is too deep: send at most {self._most_depth} levels of lists and objects.")
        return self.content


def _depth(content: Any, most: int) -> int:
    """How many levels of containers there are, counted to one more than `most`."""
    depth = 0
    level = [content] if isinstance(content, dict | list) else []
    while level and depth <= most:
        depth += 1
        items = (item.values() if isinstance(item, dict) else item for item in level)
        level = [inner for each in items for inner in each if isinstance(inner, dict | list)]
    return depth
