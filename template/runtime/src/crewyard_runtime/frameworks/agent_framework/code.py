"""The tool by which agents execute code."""

from agent_framework import FunctionTool, tool

from crewyard_runtime.context import RunContext
from crewyard_runtime.frameworks.code import DESCRIPTION, execute, told


def make_code_executor(run: RunContext) -> FunctionTool:
    """A tool for agents of this run."""

    @tool(name="execute_code", description=DESCRIPTION)
    def execute_code(code: str, language: str = "python") -> str:
        return told(execute(run, code, language))

    return execute_code
