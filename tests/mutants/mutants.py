"""Edits of a generated project that bring a known failure back, as data: what is edited, and which test must say so."""

from dataclasses import dataclass, field

CREW, MAIN, TOOL = "src/my_crew/crew.py", "src/my_crew/main.py", "src/my_crew/tools/knowledge_base.py"
SETTINGS, MODELS, APPLICATION = "src/my_crew/settings.py", "src/my_crew/models.py", "src/my_crew/application.py"
RUNTIME = "runtime/src/crewyard_runtime/"
HOOKS = f"{RUNTIME}frameworks/crewai/hooks.py"
BUILD = f"{RUNTIME}frameworks/crewai/build.py"

RUN_TOOL = "    def _run(self, query: str) -> str:\n        wanted = _words(query)\n"
BUILD_CREW = "def build_crew(run: RunContext[Settings, Ticket]) -> Crew:\n"
IMPORTS_OF_CREW = "from my_crew.guardrails import"
TRIAGER = '        **agents["triager"],\n        llm=run.llm("fast"),\n        max_iter=run.limits.max_iter,\n'
RETURN_CREW = "    return Crew(agents=[triager, resolver], tasks=[triage, resolve], process=Process.sequential)\n"
DRAFT = "        self.state.draft = Draft.model_validate(draft.pydantic)\n"


@dataclass(frozen=True)
class Mutant:
    """One edit. failure: which mode it brings back. caught_by: "module::test" of `tests/scaling`.

    also: another failure that the same edit brings back.
    edits: of each file, pairs of what is there once and what takes its place; "" is the beginning of the file.
    """

    name: str
    failure: str
    caught_by: str
    edits: dict[str, list[tuple[str, str]]] = field(repr=False)
    also: str = ""


def _tool(name: str, failure: str, caught_by: str, before: str, first_line: str) -> Mutant:
    """The sample's tool with something above its class, and a first line in `_run`."""
    edits = [("class Search(BaseModel):", f"{before}\n\n\nclass Search(BaseModel):")] if before else []
    return Mutant(name, failure, caught_by, {TOOL: [*edits, (RUN_TOOL, f"{RUN_TOOL}        {first_line}\n")]})


def _crew(name: str, failure: str, caught_by: str, *edits: tuple[str, str]) -> Mutant:
    return Mutant(name, failure, caught_by, {CREW: list(edits)})


def _main(name: str, failure: str, caught_by: str, *edits: tuple[str, str], also: str = "") -> Mutant:
    return Mutant(name, failure, caught_by, {MAIN: list(edits)}, also)


_KEPT_CREW = (
    RETURN_CREW,
    RETURN_CREW.replace("return Crew(", "made = Crew(") + "    KEPT.append(made)\n    return made\n",
)
_A_LIST = ("PROMISES_NOTHING =", "KEPT: list[Any] = []\nPROMISES_NOTHING =")

MUTANTS = [
    # F01: something outlives its run
    _crew(
        "an agent on the module",
        "F01",
        "test_import.py::test_import_makes_no_agent_crew_client_or_tool",
        ("PROMISES_NOTHING =", 'HELPER = Agent(role="Helper", goal="Help", backstory="Helps.")\nPROMISES_NOTHING ='),
    ),
    _crew(
        "a tool as a default argument",
        "F01",
        "test_import.py::test_import_makes_no_agent_crew_client_or_tool",
        (BUILD_CREW, BUILD_CREW.replace(") -> Crew", ", search: Any = SearchKnowledgeBase()) -> Crew")),
    ),
    Mutant(
        "a client as a class attribute",
        "F01",
        "test_import.py::test_import_makes_no_agent_crew_client_or_tool",
        {
            TOOL: [
                (
                    "class SearchKnowledgeBase(BaseTool):",
                    "class Clients:\n    model = LLM(model='openai/gpt-4o', api_key='x')\n\n\nclass SearchKnowledgeBase(BaseTool):",
                ),
                ("from crewai.tools import BaseTool", "from crewai import LLM\nfrom crewai.tools import BaseTool"),
            ]
        },
    ),
    _crew(
        "crews in a list",
        "F01",
        "test_runs.py::test_nothing_that_a_run_made_outlives_it",
        _A_LIST,
        _KEPT_CREW,
    ),
    _crew(
        "an agent behind functools.cache",
        "F01",
        "test_runs.py::test_nothing_that_a_run_made_outlives_it",
        (
            BUILD_CREW,
            "@cache\ndef _helper(run: Any) -> Agent:\n"
            '    return Agent(role="Helper", goal="Help", backstory="Helps.", llm=run.llm("fast"), max_iter=3)\n\n\n'
            + BUILD_CREW,
        ),
        ('    agents, tasks = _config("agents")', '    _helper(run)\n    agents, tasks = _config("agents")'),
        (
            "from importlib.resources import files\n",
            "from functools import cache\nfrom importlib.resources import files\n",
        ),
    ),
    # F02: runs mix
    Mutant(
        "one crew for all runs, behind a helper",
        "F02",
        "test_runs.py::test_no_crew_serves_two_runs",
        {
            MAIN: [
                (
                    "def build_flow(run",
                    "_ONE: list[Crew] = []\n\n\ndef _crew_of(run: RunContext) -> Crew:\n    if not _ONE:\n        _ONE.append(build_crew(run))\n    return _ONE[0]\n\n\ndef build_flow(run",
                ),
                ("    return SupportFlow(crew=build_crew(run))", "    return SupportFlow(crew=_crew_of(run))"),
            ]
        },
        also="F01",
    ),
    _main(
        "the first ticket answers all",
        "F02",
        "test_runs.py::test_no_run_sees_another_ones_data",
        ("def build_flow(run", "_DRAFTS: list[Draft] = []\n\n\ndef build_flow(run"),
        (DRAFT, DRAFT + "        _DRAFTS.append(self.state.draft)\n        self.state.draft = _DRAFTS[0]\n"),
        also="F10",
    ),
    _main(
        "prompts that tell of the run before",
        "F02",
        "test_runs.py::test_no_prompt_carries_data_of_two_runs",
        ("def build_flow(run", "_BEFORE: list[str] = []\n\n\ndef build_flow(run"),
        (
            "        output = crew.kickoff(inputs=ticket.model_dump())\n",
            "        crew.agents[0].backstory += ' '.join(_BEFORE)\n        _BEFORE.append(ticket.body)\n"
            "        output = crew.kickoff(inputs=ticket.model_dump())\n",
        ),
        also="F10",
    ),
    # F03: a variable that nobody validates
    _tool(
        "a tool reads a variable",
        "F03",
        "test_runs.py::test_variables_are_read_by_settings_alone",
        "",
        'os.environ.get("SEARCH_URL")',
    ),
    _tool(
        "a tool reads a variable by getenv",
        "F03",
        "test_runs.py::test_variables_are_read_by_settings_alone",
        "",
        'os.getenv("SEARCH_URL", "x")',
    ),
    _crew(
        "settings made in the build function",
        "F03",
        "test_runs.py::test_variables_are_read_by_settings_alone",
        ('    agents, tasks = _config("agents")', '    Settings()\n    agents, tasks = _config("agents")'),
    ),
    # F04: the environment is read at import
    _crew(
        "a variable on the module",
        "F04",
        "test_import.py::test_import_reads_no_variable",
        ("PROMISES_NOTHING =", 'URL = __import__("os").environ.get("CRM_URL")\nPROMISES_NOTHING ='),
    ),
    _crew(
        "a variable as a default argument",
        "F04",
        "test_import.py::test_import_reads_no_variable",
        (BUILD_CREW, BUILD_CREW.replace(") -> Crew", ', url: Any = __import__("os").getenv("CRM_URL")) -> Crew')),
    ),
    Mutant(
        "settings on the module",
        "F04",
        "test_import.py::test_import_reads_no_variable",
        {
            TOOL: [
                ("BEST = 2", "BEST = 2\nSETTINGS = Settings()"),
                ("from pydantic import", "from my_crew.settings import Settings\nfrom pydantic import"),
            ]
        },
    ),
    # F05: files outside of the workspace
    _tool(
        "a tool writes into the home directory's parent",
        "F05",
        "test_runs.py::test_a_run_writes_in_its_workspace_alone",
        "",
        'Path("/tmp/crewyard-mutant.txt").write_text(query)',
    ),
    _tool(
        "a tool makes a directory",
        "F05",
        "test_runs.py::test_a_run_writes_in_its_workspace_alone",
        "",
        'os.makedirs("/tmp/crewyard-mutant-directory", exist_ok=True)',
    ),
    _tool(
        "a tool has a database of its own",
        "F05",
        "test_runs.py::test_a_run_writes_in_its_workspace_alone",
        "",
        '__import__("sqlite3").connect("/tmp/crewyard-mutant.db").close()',
    ),
    # F06: what is no data, from step to step
    _main(
        "a lock in the flow's state",
        "F06",
        "test_runs.py::test_what_steps_hand_over_is_plain_data",
        ('    plan: str = "free"\n', '    plan: str = "free"\n    guard: Any = None\n'),
        (DRAFT, DRAFT + '        self.state.guard = __import__("threading").Lock()\n'),
        ("from typing import Literal", "from typing import Any, Literal"),
    ),
    _main(
        "a connection in the flow's state",
        "F06",
        "test_runs.py::test_what_steps_hand_over_is_plain_data",
        ('    plan: str = "free"\n', '    plan: str = "free"\n    rows: Any = None\n'),
        (DRAFT, DRAFT + '        self.state.rows = __import__("sqlite3").connect(":memory:")\n'),
        ("from typing import Literal", "from typing import Any, Literal"),
    ),
    _main(
        "a function in the flow's state",
        "F06",
        "test_runs.py::test_what_steps_hand_over_is_plain_data",
        ('    plan: str = "free"\n', '    plan: str = "free"\n    then: Any = None\n'),
        (DRAFT, DRAFT + "        self.state.then = lambda: 1\n"),
        ("from typing import Literal", "from typing import Any, Literal"),
    ),
    # F07: threads without a bound
    _tool(
        "a pool of 64 threads",
        "F07",
        "test_runs.py::test_tools_start_few_threads",
        "",
        "ThreadPoolExecutor(max_workers=64).shutdown()",
    ),
    _tool(
        "a thread for each word",
        "F07",
        "test_runs.py::test_tools_start_few_threads",
        "",
        "for each in [threading.Thread(target=time.sleep, args=(0.2,)) for _ in range(30)]:\n            each.start()",
    ),
    _tool(
        "a pool as large as the machine says",
        "F07",
        "test_runs.py::test_tools_start_few_threads",
        "",
        "ThreadPoolExecutor().shutdown()",
    ),
    # F08: without a limit
    Mutant(
        "limits without end",
        "F08",
        "test_limits.py::test_limits_are_limits",
        {"platform.toml": [("", "limits.deadline_seconds = 80000\n")]},
    ),
    _main(
        "tries until it works",
        "F08",
        "test_limits.py::test_a_model_that_always_answers_nonsense_ends_the_run",
        (
            "        output = crew.kickoff(inputs=ticket.model_dump())\n",
            "        while True:\n            try:\n                output = crew.kickoff(inputs=ticket.model_dump())\n                break\n            except Exception:\n                continue\n",
        ),
    ),
    Mutant(
        "an agent with its own model",
        "F08",
        "test_runs.py::test_every_run_succeeds",
        {CREW: [('        llm=run.llm("strong"),', '        llm="openai/gpt-4o",')]},
    ),
    # F10: data on a module, a class or in a cache
    _tool(
        "questions in a list on the module",
        "F10",
        "test_runs.py::test_no_module_keeps_what_a_run_was_given",
        "ASKED: list[str] = []",
        "ASKED.append(str(RunContext.current().input))",
    ),
    _tool(
        "questions on the tool's class",
        "F10",
        "test_runs.py::test_no_module_keeps_what_a_run_was_given",
        "class Notes:\n    asked: dict[str, str] = {}",
        'Notes.asked["last"] = str(RunContext.current().input)',
    ),
    _tool(
        "answers in functools.cache",
        "F10",
        "test_runs.py::test_no_module_keeps_what_a_run_was_given",
        "@cache\ndef _kept(text: str) -> str:\n    return text.upper()",
        "_kept(str(RunContext.current().input))",
    ),
    # F11: the history
    Mutant(
        "the runtime bounds no history",
        "F11",
        "test_limits.py::test_the_history_of_messages_is_bounded",
        {HOOKS: [("    context.messages[:] = bounded_history(context.messages, run.limits.history_messages)\n", "")]},
    ),
    # F14: an unscoped memory
    _main(
        "what all customers said, in a file",
        "F14",
        "test_memory.py::test_agents_know_their_user_and_no_other",
        (
            "        output = crew.kickoff(inputs=ticket.model_dump())\n",
            '        notes = Path("/tmp/crewyard-mutant-notes.txt")\n        crew.agents[0].backstory += notes.read_text() if notes.exists() else ""\n        with notes.open("a") as file:\n            file.write(ticket.body)\n        output = crew.kickoff(inputs=ticket.model_dump())\n',
        ),
        ("import sys\n", "import sys\nfrom pathlib import Path\n"),
    ),
    Mutant(
        "the runtime does not tell what is known",
        "F15",
        "test_memory.py::test_agents_know_their_user_and_no_other",
        {HOOKS: [("        tell_what_is_known(context.messages, run.known.text())", "        pass")]},
    ),
    # F17: an output that is none
    Mutant(
        "whatever comes is handed on",
        "F17",
        "test_limits.py::test_a_model_that_always_answers_nonsense_ends_the_run",
        {
            f"{RUNTIME}execution/work.py": [
                ("outcome.output = valid_output(application, result)", "outcome.output = str(result)")
            ],
            MAIN: [
                (
                    "        output = crew.kickoff(inputs=ticket.model_dump())\n",
                    "        try:\n            output = crew.kickoff(inputs=ticket.model_dump())\n        except Exception:\n            return\n",
                )
            ],
        },
        also="F18",
    ),
    # F18: an error without its cause
    _main(
        "an error without its cause",
        "F18",
        "test_limits.py::test_a_provider_that_always_fails_ends_the_run",
        (
            "        output = crew.kickoff(inputs=ticket.model_dump())\n",
            '        try:\n            output = crew.kickoff(inputs=ticket.model_dump())\n        except Exception:\n            failed = "failed"\n        else:\n            failed = ""\n        if failed:\n            raise RuntimeError(failed)\n',
        ),
    ),
    # F24: threads before the fork
    _crew(
        "a thread at import",
        "F24",
        "test_import.py::test_import_starts_no_thread",
        (
            "PROMISES_NOTHING =",
            '__import__("threading").Thread(target=__import__("time").sleep, args=(60,), daemon=True).start()\nPROMISES_NOTHING =',
        ),
    ),
    _crew(
        "a timer at import",
        "F24",
        "test_import.py::test_import_starts_no_thread",
        (
            "PROMISES_NOTHING =",
            'TIMER = __import__("threading").Timer(60, print)\nTIMER.daemon = True\nTIMER.start()\nPROMISES_NOTHING =',
        ),
    ),
    _crew(
        "a pool at import",
        "F24",
        "test_import.py::test_import_starts_no_thread",
        (
            "PROMISES_NOTHING =",
            'POOL = __import__("concurrent.futures").futures.ThreadPoolExecutor(1)\nPOOL.submit(print)\nPROMISES_NOTHING =',
        ),
    ),
    # F25: heavy imports
    Mutant(
        "the models import the framework",
        "F25",
        "test_import.py::test_what_a_gateway_loads_imports_no_framework",
        {MODELS: [("from typing import Literal", "from typing import Literal\n\nimport crewai")]},
    ),
    Mutant(
        "the settings import the framework",
        "F25",
        "test_import.py::test_what_a_gateway_loads_imports_no_framework",
        {SETTINGS: [("from pydantic import Field", "from crewai import Agent\nfrom pydantic import Field")]},
    ),
    Mutant(
        "the declaration imports the flow",
        "F25",
        "test_import.py::test_what_a_gateway_loads_imports_no_framework",
        {
            APPLICATION: [
                ("from my_crew.models import", "from my_crew.main import build_flow\nfrom my_crew.models import")
            ]
        },
    ),
    # F26: calls that nobody counts
    Mutant(
        "the runtime counts nothing",
        "F26",
        "test_limits.py::test_every_model_call_is_counted",
        {
            f"{RUNTIME}frameworks/crewai/events.py": [
                ("    crewai_event_bus.on(LLMCallCompletedEvent)(_count_model_call)\n", "")
            ]
        },
    ),
    _main(
        "a call past the counted client",
        "F26",
        "test_limits.py::test_every_model_call_is_counted",
        (
            "        output = crew.kickoff(inputs=ticket.model_dump())\n",
            '        import httpx\n\n        llm = run.llm("fast")\n        body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": ticket.body}]}\n        httpx.post(f"{llm.base_url}/chat/completions", json=body, headers={"authorization": "Bearer x"})\n        output = crew.kickoff(inputs=ticket.model_dump())\n',
        ),
    ),
]
NEEDED = {
    "os.": "import os\n",
    "Path(": "from pathlib import Path\n",
    "ThreadPoolExecutor": "from concurrent.futures import ThreadPoolExecutor\n",
    "threading.": "import threading\n",
    "time.": "import time\n",
    "@cache": "from functools import cache\n",
    "RunContext": "from crewyard_runtime import RunContext\n",
}
