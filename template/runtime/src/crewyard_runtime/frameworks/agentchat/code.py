"""AutoGen's CodeExecutor on the sandbox of a run."""

import asyncio

from autogen_core import CancellationToken
from autogen_core.code_executor import CodeBlock, CodeExecutor, CodeResult

from crewyard_runtime.context import RunContext
from crewyard_runtime.frameworks.code import execute_blocks


class SandboxExecutor(CodeExecutor):
    """For a CodeExecutorAgent or a PythonCodeExecutionTool."""

    def __init__(self, run: RunContext) -> None:
        self._run = run

    async def execute_code_blocks(
        self, code_blocks: list[CodeBlock], cancellation_token: CancellationToken
    ) -> CodeResult:
        """Execute one after the other, until one fails."""
        blocks = [(block.language, block.code) for block in code_blocks]
        execution = await asyncio.to_thread(execute_blocks, self._run, blocks)
        return CodeResult(execution.exit_code, execution.output)

    async def start(self) -> None:
        """The first execution starts it."""

    async def stop(self) -> None:
        """The end of the run stops it."""

    async def restart(self) -> None:
        """Its files stay until the end of the run."""


def make_code_executor(run: RunContext) -> SandboxExecutor:
    """A code executor for this run."""
    return SandboxExecutor(run)
