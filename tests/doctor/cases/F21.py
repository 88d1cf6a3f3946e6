"""Where generated code runs."""

import subprocess

import autogen
from autogen.coding import DockerCommandLineCodeExecutor, LocalCommandLineCodeExecutor
from crewai import Agent
from crewai.tools import tool
from crewai_tools import CodeInterpreterTool
from langchain_experimental.tools import PythonREPLTool

LOCAL = {"work_dir": "coding", "use_docker": False}  # finds F21


def agents() -> list[object]:
    return [
        autogen.UserProxyAgent("a", code_execution_config={"use_docker": False}),  # finds F21
        autogen.UserProxyAgent("b", code_execution_config=LOCAL),
        autogen.UserProxyAgent("c", code_execution_config={"work_dir": "coding", "use_docker": True}),  # finds F21
        autogen.UserProxyAgent("d", code_execution_config=False),
        autogen.UserProxyAgent("e", code_execution_config={"executor": DockerCommandLineCodeExecutor()}),
        LocalCommandLineCodeExecutor(work_dir="coding"),  # finds F21
        Agent(role="r", goal="g", backstory="b", allow_code_execution=True),  # hints F21
        Agent(role="r", goal="g", backstory="b", allow_code_execution=True, code_execution_mode="unsafe"),  # finds F21
        Agent(role="r", goal="g", backstory="b", allow_code_execution=False),
        CodeInterpreterTool(unsafe_mode=True),  # finds F21
        CodeInterpreterTool(),
        PythonREPLTool(),  # finds F21
    ]


@tool("Calculate")
def calculate(expression: str) -> str:
    """Calculate."""
    return str(eval(expression))  # finds F21


@tool("Shell")
def shell(command: str) -> str:
    """Run a command."""
    line = f"cd /work && {command}"
    subprocess.run(["ls", command])
    return subprocess.run(line, shell=True, capture_output=True).stdout.decode()  # finds F21


def constant() -> int:
    return int(eval("1 + 1"))


def scaffold(name: str) -> None:
    subprocess.run(f"npx create-react-app {name}", shell=True)  # hints F21
    subprocess.run("npm install", shell=True)


WORK_DIR = "coding"


def in_docker(run_id: str) -> list[object]:
    return [
        DockerCommandLineCodeExecutor(work_dir="coding"),  # hints F21
        DockerCommandLineCodeExecutor(work_dir=WORK_DIR),  # hints F21
        DockerCommandLineCodeExecutor(work_dir=f"runs/{run_id}"),
        DockerCommandLineCodeExecutor(),
    ]
