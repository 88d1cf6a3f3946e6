"""What of a conversation an answer repeats: the user's words, and the canaries that tests hide in messages."""

import json
import re
from dataclasses import dataclass
from math import inf
from typing import Any

CANARY = re.compile(r"canary-[0-9a-f]{8,}")
KEY = re.compile(r"(?i)(?<![a-z0-9])(?:sk|pk|rk)-\S*|\bbearer\s+\S+")
# CrewAI's own sentences around a task (crewai/translations/en.json). A user message that holds nothing else is no new
# question.
BOILERPLATE = re.compile(
    r"This is the context you're working with:.*|# Memories from past conversations:.*"
    r"|This is the expected criteria for your final answer:.*?(?:not a summary\.|\Z)"
    r"|Format your final answer according to the following.*?(?:```python\.|\Z)"
    r"|Current Task:|Provide your complete response:|Begin! This is VERY important.*?Thought:"
    r"|Analyze the tool result\. If requirements are met.*?meta-commentary\."
    r"|Now it's time you MUST give your absolute best final answer.*?BEST Final answer\.",
    re.DOTALL,
)
SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
INSTRUCTION = re.compile(
    r"(?i)\W*(?:please )?(?:answer|reply|respond|return|use|cite|do not|don't|never|always|you must|make sure)\b"
    r"(?!.*\?)"
)
UNREADABLE = re.compile(r"[{}\[\]<>\\|]|\":")


@dataclass(frozen=True)
class Echo:
    """words: the user's last message, what matters last. canaries: of all messages, in order, each once.

    turn: the index of that message, -1 if there is none. seed: its text.
    """

    words: tuple[str, ...]
    canaries: tuple[str, ...] = ()
    turn: int = -1
    seed: str = ""

    @classmethod
    def of(cls, messages: list[dict[str, Any]]) -> "Echo":
        """What a conversation in OpenAI's message format gives to repeat."""
        canaries = tuple(dict.fromkeys(CANARY.findall(json.dumps(messages))))
        for turn in range(len(messages) - 1, -1, -1):
            text = text_of(messages[turn])
            own = BOILERPLATE.sub(" ", text).strip()
            if messages[turn]["role"] == "user" and own:
                return cls(_words(own), canaries, turn, text)
        return cls((), canaries)

    def text(self, words: int, *, low: int = 0, high: float = inf, variant: int = 0) -> str:
        """The last `words` words and every canary that fits, in `low` to `high` characters.

        Another `variant` gives another string.
        """
        chosen = ([str(variant + 1)] if variant else []) + list(self.words[-words:] or ["example"])
        tail = ""
        for canary in self.canaries:
            longer = f"{tail} {canary}"
            if len(longer) <= high - (len(chosen[0]) if variant else -1):
                tail = longer
        head = " ".join(chosen)
        need, room = low - len(tail), high - len(tail)
        while 0 < len(head) < need:
            head = f"{head} {head}"
        if len(head) > room:
            whole = head[: int(room) + 1].rpartition(" ")[0]
            head = whole if len(whole) >= max(1, need) else head[: max(0, int(room))]
        return head + tail if head or len(tail) <= low else tail[1:]


def text_of(message: dict[str, Any]) -> str:
    """The text of a message whose content is a string, a list of parts, or nothing."""
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return "\n".join(str(part.get("text") or "") for part in content)


def _words(text: str) -> tuple[str, ...]:
    text = CANARY.sub(" ", KEY.sub(" ", text))
    sentences = [part.strip() for part in SENTENCE.split(text) if part.strip()]
    telling = [part for part in sentences if not INSTRUCTION.match(part)] or sentences
    # What the user asks is what a search or an answer is about, wherever it stands.
    telling.sort(key=lambda part: part.endswith("?"))
    words = (word.strip("\"'`*#()_:-") for word in " ".join(telling).split())
    return tuple(word for word in words if re.search(r"\w", word) and not UNREADABLE.search(word))
