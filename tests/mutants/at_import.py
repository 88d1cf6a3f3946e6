"""What is done too early: at import, before the fork, without the settings."""

from mutants.edits import APPLICATION, BUILD_CREW, MODELS, RETURN_CREW, SETTINGS, TOOL, Mutant, crew, tool

_KEPT_CREW = (
    RETURN_CREW,
    RETURN_CREW.replace("return Crew(", "made = Crew(") + "    KEPT.append(made)\n    return made\n",
)
_A_LIST = ("PROMISES_NOTHING =", "KEPT: list[Any] = []\nPROMISES_NOTHING =")

MUTANTS = [
    # F01: something outlives its run
    crew(
        "an agent on the module",
        "F01",
        "test_import.py::test_import_makes_no_agent_crew_client_or_tool",
        ("PROMISES_NOTHING =", 'HELPER = Agent(role="Helper", goal="Help", backstory="Helps.")\nPROMISES_NOTHING ='),
    ),
    crew(
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
    crew(
        "crews in a list",
        "F01",
        "test_runs.py::test_nothing_that_a_run_made_outlives_it",
        _A_LIST,
        _KEPT_CREW,
    ),
    crew(
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
        also="F10",
    ),
    crew(
        "an agent that a module's __getattr__ makes",
        "F01",
        "test_runs.py::test_nothing_that_a_run_made_outlives_it",
        (
            BUILD_CREW,
            "def __getattr__(name: str) -> Any:\n"
            '    if name != "helper":\n        raise AttributeError(name)\n'
            '    globals()["helper"] = Agent(role="Helper", goal="Help", backstory="Helps.", '
            'llm=RunContext.current().llm("fast"), max_iter=3)\n    return globals()["helper"]\n\n\n' + BUILD_CREW,
        ),
        (
            '    agents, tasks = _config("agents")',
            '    __import__("sys").modules[__name__].helper\n    agents, tasks = _config("agents")',
        ),
    ),
    # F03: a variable that nobody validates
    tool(
        "a tool reads a variable",
        "F03",
        "test_runs.py::test_variables_are_read_by_settings_alone",
        "",
        'os.environ.get("SEARCH_URL")',
    ),
    tool(
        "a tool reads a variable by getenv",
        "F03",
        "test_runs.py::test_variables_are_read_by_settings_alone",
        "",
        'os.getenv("SEARCH_URL", "x")',
    ),
    crew(
        "settings made in the build function",
        "F03",
        "test_runs.py::test_variables_are_read_by_settings_alone",
        ('    agents, tasks = _config("agents")', '    Settings()\n    agents, tasks = _config("agents")'),
    ),
    # F04: the environment is read at import
    crew(
        "a variable on the module",
        "F04",
        "test_import.py::test_import_reads_no_variable",
        ("PROMISES_NOTHING =", 'URL = __import__("os").environ.get("CRM_URL")\nPROMISES_NOTHING ='),
    ),
    crew(
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
    # F13: a client or a part of a loop, handed from run to run
    tool(
        "a lock of asyncio on the module",
        "F13",
        "test_runs.py::test_no_client_or_loop_is_handed_from_run_to_run",
        "GATE = asyncio.Lock()",
        "assert GATE",
    ),
    tool(
        "an async client as a class attribute",
        "F13",
        "test_runs.py::test_no_client_or_loop_is_handed_from_run_to_run",
        "class Clients:\n    web = httpx.AsyncClient()",
        "assert Clients.web",
    ),
    tool(
        "one event loop for all runs, made lazily",
        "F13",
        "test_runs.py::test_no_client_or_loop_is_handed_from_run_to_run",
        "@cache\ndef _loop() -> asyncio.AbstractEventLoop:\n    return asyncio.new_event_loop()",
        "_loop().run_until_complete(asyncio.sleep(0))",
        also="F01",
    ),
    tool(
        "a connection on the module",
        "F13",
        "test_runs.py::test_no_client_or_loop_is_handed_from_run_to_run",
        'ROWS = sqlite3.connect(":memory:", check_same_thread=False)',
        'ROWS.execute("SELECT 1")',
    ),
    # F24: threads before the fork
    crew(
        "a thread at import",
        "F24",
        "test_import.py::test_import_starts_no_thread",
        (
            "PROMISES_NOTHING =",
            '__import__("threading").Thread(target=__import__("time").sleep, args=(60,), daemon=True).start()\nPROMISES_NOTHING =',
        ),
    ),
    crew(
        "a timer at import",
        "F24",
        "test_import.py::test_import_starts_no_thread",
        (
            "PROMISES_NOTHING =",
            'TIMER = __import__("threading").Timer(60, print)\nTIMER.daemon = True\nTIMER.start()\nPROMISES_NOTHING =',
        ),
    ),
    crew(
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
]
