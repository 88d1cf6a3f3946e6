"""The tool by which a crew's agents execute code: CrewAI's own code execution is gone, and has never been a sandbox."""

from typing import Any, Literal

from crewai.tools import BaseTool
from pydantic import BaseModel, Field

from crewyard_runtime.context import RunContext
from crewyard_runtime.frameworks.code import DESCRIPTION, execute, told


class Code(BaseModel):
    """The tool's arguments, as the model sees them."""

    code: str = Field(description="the code")
    language: Literal["python", "sh"] = Field(default="python", description="what it is written in")


class ExecuteCode(BaseTool):
    """Executes code in the sandbox of the run."""

    name: str = "execute_code"
    description: str = DESCRIPTION
    args_schema: type[BaseModel] = Code

    def _run(self, code: str, language: str = "python") -> str:
        return told(execute(RunContext.current(), code, language))


def make_code_executor(run: RunContext[Any, Any]) -> ExecuteCode:
    """A tool for this run."""
    return ExecuteCode()
