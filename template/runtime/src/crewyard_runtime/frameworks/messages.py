"""The messages of a model call: the first, how many there may be, and what is added to them."""

from typing import Any

from pydantic import BaseModel


def bounded_history(messages: list[Any], limit: int) -> list[Any]:
    """At most `limit` messages: what leads up to the task (system, first user message) and the newest of the rest.

    The answer of a tool is dropped together with the call it answers, or a provider would refuse the request.
    """
    if len(messages) <= limit:
        return messages
    first_user = next((at for at, message in enumerate(messages) if message["role"] == "user"), 0)
    head = messages[: first_user + 1][-limit:]
    tail = messages[len(messages) - (limit - len(head)) :] if limit > len(head) else []
    while tail and tail[0]["role"] == "tool":
        tail = tail[1:]
    return [*head, *tail]


def tell_what_is_known(messages: list[Any], known: str) -> None:
    """Add it to the system message, once: CrewAI keeps the list from call to call."""
    first = next((message for message in messages if isinstance(message.get("content"), str)), None)
    if known and first is not None and known not in first["content"]:
        first["content"] = f"{first['content']}\n\n{known}"


def task_of(input: Any) -> str:
    """What a team or an agent is asked, where no code of the project puts it in words: the run's input as JSON."""
    return input.model_dump_json(indent=2) if isinstance(input, BaseModel) else str(input)
