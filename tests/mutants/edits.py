"""An edit of a generated project that brings a known failure back, and what the edits are made of."""

from dataclasses import dataclass, field

TEAM = "src/my_crew/team.py"
CREW, MAIN, TOOL = "src/my_crew/crew.py", "src/my_crew/main.py", "src/my_crew/tools/knowledge_base.py"
SETTINGS, MODELS, APPLICATION = "src/my_crew/settings.py", "src/my_crew/models.py", "src/my_crew/application.py"
RUNTIME = "runtime/src/crewyard_runtime/"
HOOKS = f"{RUNTIME}frameworks/crewai/hooks.py"
BUILD = f"{RUNTIME}frameworks/crewai/build.py"
WORK = f"{RUNTIME}execution/work.py"
STORE = f"{RUNTIME}store/runs.py"
PLATFORM = "platform.toml"

RUN_TOOL = "    def _run(self, query: str) -> str:\n        wanted = _words(query)\n"
BUILD_CREW = "def build_crew(run: RunContext[Settings, Ticket]) -> Crew:\n"
IMPORTS_OF_CREW = "from my_crew.guardrails import"
TRIAGER = '        **agents["triager"],\n        llm=run.llm("fast"),\n        max_iter=run.limits.max_iter,\n'
RETURN_CREW = "    return Crew(agents=[triager, resolver], tasks=[triage, resolve], process=Process.sequential)\n"
KICKOFF = "        output = crew.kickoff(inputs=ticket.model_dump())\n"
DRAFT = "        self.state.draft = Draft.model_validate(draft.pydantic)\n"


@dataclass(frozen=True)
class Mutant:
    """One edit. failure: which mode it brings back. caught_by: "module::test" of `tests/scaling`.

    also: other failures that the same edit brings back. framework: of the project that is edited.
    edits: of each file, pairs of what is there once and what takes its place; "" is the beginning, also of a new file.
    """

    name: str
    failure: str
    caught_by: str
    edits: dict[str, list[tuple[str, str]]] = field(repr=False)
    also: str = ""
    framework: str = "crewai"


def tool(name: str, failure: str, caught_by: str, before: str, first_line: str, also: str = "") -> Mutant:
    """The sample's tool with something above its class, and a first line in `_run`."""
    edits = [("class Search(BaseModel):", f"{before}\n\n\nclass Search(BaseModel):")] if before else []
    return Mutant(name, failure, caught_by, {TOOL: [*edits, (RUN_TOOL, f"{RUN_TOOL}        {first_line}\n")]}, also)


def crew(name: str, failure: str, caught_by: str, *edits: tuple[str, str], also: str = "") -> Mutant:
    """The module of the crew, edited."""
    return Mutant(name, failure, caught_by, {CREW: list(edits)}, also)


def main(name: str, failure: str, caught_by: str, *edits: tuple[str, str], also: str = "") -> Mutant:
    """The module of the flow, edited."""
    return Mutant(name, failure, caught_by, {MAIN: list(edits)}, also)


NEEDED = {
    "os.": "import os\n",
    "Path(": "from pathlib import Path\n",
    "ThreadPoolExecutor": "from concurrent.futures import ThreadPoolExecutor\n",
    "threading.": "import threading\n",
    "time.": "import time\n",
    "asyncio.": "import asyncio\n",
    "httpx.": "import httpx\n",
    "sqlite3.": "import sqlite3\n",
    "subprocess.": "import subprocess\n",
    "@cache": "from functools import cache\n",
    "RunContext": "from crewyard_runtime import RunContext\n",
}
