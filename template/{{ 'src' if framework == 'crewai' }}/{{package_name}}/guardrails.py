"""Rules for an answer that code can check: a guardrail gives (True, output) or (False, what to mend)."""

import re
from typing import Any

from crewai import TaskOutput
from crewai.lite_agent_output import LiteAgentOutput

PLACEHOLDER = re.compile(r"\[(?:your|customer|agent|company|insert)\b[^\]]*\]|\{\w+\}|\bTODO\b|\bXXX\b", re.IGNORECASE)


def leaves_no_placeholders(output: TaskOutput | LiteAgentOutput) -> tuple[bool, Any]:
    """Models like to sign with [Your Name]; a customer should not read that."""
    found = PLACEHOLDER.search(output.raw)
    if found:
        return False, f"Write the answer out: it still contains {found.group()!r}."
    return True, output
