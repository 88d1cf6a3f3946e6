"""AutoGen's CodeExecutor on the sandbox of a run."""

from autogen.coding import CodeBlock, CodeResult, MarkdownCodeExtractor

from crewyard_runtime.context import RunContext
from crewyard_runtime.frameworks.code import execute_blocks


class SandboxExecutor:
    """For code_execution_config={"executor": run.code_executor()}."""

    def __init__(self, run: RunContext) -> None:
        self._run = run

    @property
    def code_extractor(self) -> MarkdownCodeExtractor:
        """What finds code in a message."""
        return MarkdownCodeExtractor()

    def execute_code_blocks(self, code_blocks: list[CodeBlock]) -> CodeResult:
        """Execute one after the other, until one fails."""
        execution = execute_blocks(self._run, [(block.language, block.code) for block in code_blocks])
        return CodeResult(exit_code=execution.exit_code, output=execution.output)

    def restart(self) -> None:
        """Its files stay until the end of the run."""


def make_code_executor(run: RunContext) -> SandboxExecutor:
    """A code executor for this run."""
    return SandboxExecutor(run)
