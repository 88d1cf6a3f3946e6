"""The parts of the OpenAPI document that FastAPI does not know by itself: problems, headers, the service's name."""

from typing import Any

from fastapi import FastAPI

from crewyard_runtime.api.admission import MOST_SUBJECT, ON_BEHALF_OF
from crewyard_runtime.api.problems import MEDIA_TYPE, Problem
from crewyard_runtime.api.views import Event

NAME = "crewyard.{model}"  # with a dot, which no model of a team has
REF = f"#/components/schemas/{NAME}"
SAID = {
    401: "no valid credential",
    403: "the credential may not act for others",
    404: "no such run, or another user's",
    409: "not possible now, or the idempotency key was used for another request",
    413: "the body is too large",
    415: "the body is not declared as JSON",
    422: "the request is not valid",
    429: "too many requests in a minute; see Retry-After",
    500: "the gateway failed",
    503: "the database, or what else is needed, is not available, or the queue is full; see Retry-After",
}
AGAIN = {"Retry-After": {"schema": {"type": "integer", "minimum": 1}, "description": "seconds"}}
CHALLENGE = {"WWW-Authenticate": {"schema": {"type": "string"}, "description": "how to authenticate"}}
LOCATION: dict[str, Any] = {
    "headers": {"Location": {"schema": {"type": "string"}, "description": "the run's path"}},
    "description": "taken in; it will be done",
}
# As FastAPI documents a stream, which it does only where nothing can be refused before the stream begins.
EVENTS: dict[str, Any] = {
    "description": "the events",
    "content": {
        "text/event-stream": {
            "itemSchema": {
                "type": "object",
                "required": ["id", "event", "data"],
                "properties": {
                    "id": {"type": "string"},
                    "event": {"type": "string"},
                    "data": {
                        "type": "string",
                        "contentMediaType": "application/json",
                        "contentSchema": {"$ref": REF.format(model=Event.__name__)},
                    },
                },
            }
        }
    },
}
# What `Admission` reads of a request, documented by hand: FastAPI would read it again in each request.
BEARER = {"type": "http", "scheme": "bearer", "description": "an API key, or a token of the OIDC issuer"}
ADMITTED: dict[str, Any] = {
    "security": [{"bearer": []}],
    "parameters": [
        {
            "name": ON_BEHALF_OF,
            "in": "header",
            "required": False,
            "schema": {"type": "string", "minLength": 1, "maxLength": MOST_SUBJECT},
            "description": "one of the caller's own users, whose runs these are; only a key that may act for others",
        }
    ],
}
HEADERS = {401: CHALLENGE, 429: AGAIN, 503: AGAIN}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The responses of a route that are problems."""
    content = {MEDIA_TYPE: {"schema": {"$ref": REF.format(model=Problem.__name__)}}}
    return {
        status: {
            "description": SAID[status],
            "content": content,
            **({"headers": HEADERS[status]} if status in HEADERS else {}),
        }
        for status in statuses
    }


def describe(app: FastAPI) -> None:
    """Let the document of an application hold the models that only our descriptions name, and no parameter be null."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = generate()
            document["components"]["securitySchemes"] = {"bearer": BEARER}
            _add_models(document["components"]["schemas"])
            for operations in document["paths"].values():
                for operation in operations.values():
                    for parameter in operation.get("parameters", []):
                        parameter["schema"] = _not_null(parameter["schema"])
        return generate()

    app.openapi = openapi  # type: ignore[method-assign]


def _add_models(schemas: dict[str, Any]) -> None:
    for model in (Problem, Event):
        schema = model.model_json_schema(ref_template=REF)
        found = {**schema.pop("$defs", {}), model.__name__: schema}
        schemas.update({NAME.format(model=name): each for name, each in found.items()})


def _not_null(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of what may be left out; in Python it is None then, but a header or a query holds no null."""
    kinds = [kind for kind in schema.get("anyOf", []) if kind != {"type": "null"}]
    return {**{key: schema[key] for key in schema if key != "anyOf"}, **kinds[0]} if len(kinds) == 1 else schema
