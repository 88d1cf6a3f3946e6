"""Code of a model in a run's sandbox, as the frameworks' executors and tools call it; each execution is reported."""

import time

from crewyard_runtime.context import RunContext
from crewyard_runtime.frameworks.turns import speaker
from crewyard_runtime.sandbox import Execution

DESCRIPTION = (
    "Execute code in a sandbox, and get its exit code and what it prints. language: python or sh. Files in its "
    "directory stay for the next call."
)


def execute_blocks(run: RunContext, blocks: list[tuple[str, str]]) -> Execution:
    """Execute pairs of a language and a code, until one fails: the last one's exit code, and what all of them wrote."""
    written, exit_code = [], 0
    for language, code in blocks:
        execution = execute(run, code, language.strip().lower() or "python")
        written.append(execution.output)
        exit_code = execution.exit_code
        if exit_code:
            break
    return Execution(exit_code=exit_code, output="\n".join(written))


def execute(run: RunContext, code: str, language: str = "python") -> Execution:
    """Execute code for the agent whose turn it is. Raises what has stopped the run, and SandboxDown."""
    if run.stopped:
        raise run.stopped
    started = time.monotonic()
    execution = run.execute(code, "python" if language in ("py", "python3") else language)
    seconds = round(time.monotonic() - started, 3)
    run.emit("code.executed", agent=speaker(), language=language, exit_code=execution.exit_code, seconds=seconds)
    return execution


def told(execution: Execution) -> str:
    """An execution as a tool tells it."""
    return f"exit code {execution.exit_code}\n{execution.output}"
