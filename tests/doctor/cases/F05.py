"""Fixed paths that a run writes; token_usage is counted."""

import json
import logging
import tempfile
from pathlib import Path

import pandas as pd
from crewai import Crew, Task  # hints F25
from crewai.flow import Flow, start
from crewai.tools import BaseTool
from crewai_tools import FileWriterTool
from fastapi import FastAPI

app = FastAPI()
logging.basicConfig(filename="app.log")  # hints F05


class SaveTool(BaseTool):
    name: str = "save"

    def _run(self, text: str) -> str:
        with open("report.md", "w") as file:  # finds F05
            file.write(text)
        Path("notes.txt").write_text(text)  # finds F05
        return "saved"


class WriteFlow(Flow):
    @start()
    def begin(self) -> None:
        folder = Path("output")
        with open(folder / "post.md", "w") as file:  # finds F05
            file.write("x")


@app.post("/table")
def table(rows: list[dict[str, str]]) -> str:
    pd.DataFrame(rows).to_csv("rows.csv")  # finds F05
    return "done"


def build_task(topic: str) -> Task:
    return Task(description=topic, expected_output="e", output_file="report.md")  # finds F05


def named_task(topic: str) -> Task:
    return Task(description=topic, expected_output="e", output_file=f"{topic}.md")


def template_task() -> Task:
    return Task(description="d", expected_output="e", output_file="out/{topic}.md")


def build_crew() -> Crew:
    return Crew(agents=[], tasks=[], output_log_file="crew.log")  # hints F05


def writers() -> list[object]:
    return [FileWriterTool()]  # hints F05


@app.get("/own")
def own(run_id: str) -> str:
    with open(f"runs/{run_id}.json", "w") as file:
        json.dump({}, file)
    with open("prompt.txt") as file:
        file.read()
    with tempfile.NamedTemporaryFile("w") as file:
        file.write("x")
    return run_id


def export() -> None:
    with open("gallery.json", "w") as file:  # hints F05
        file.write("{}")
