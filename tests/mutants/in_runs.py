"""What a run does to others, to the disk, to its threads and loops, and with what a model wrote."""

from mutants.edits import DRAFT, KICKOFF, MAIN, RUN_TOOL, RUNTIME, TOOL, Mutant, main, tool

MUTANTS = [
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
    main(
        "the first ticket answers all",
        "F02",
        "test_runs.py::test_no_run_sees_another_ones_data",
        ("def build_flow(run", "_DRAFTS: list[Draft] = []\n\n\ndef build_flow(run"),
        (DRAFT, DRAFT + "        _DRAFTS.append(self.state.draft)\n        self.state.draft = _DRAFTS[0]\n"),
        also="F10",
    ),
    main(
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
    # F05: files outside of the workspace
    tool(
        "a tool writes into the home directory's parent",
        "F05",
        "test_runs.py::test_a_run_writes_in_its_workspace_alone",
        "",
        'Path("/tmp/crewyard-mutant.txt").write_text(query)',
    ),
    tool(
        "a tool makes a directory",
        "F05",
        "test_runs.py::test_a_run_writes_in_its_workspace_alone",
        "",
        'os.makedirs("/tmp/crewyard-mutant-directory", exist_ok=True)',
    ),
    tool(
        "a tool has a database of its own",
        "F05",
        "test_runs.py::test_a_run_writes_in_its_workspace_alone",
        "",
        '__import__("sqlite3").connect("/tmp/crewyard-mutant.db").close()',
    ),
    # F06: what is no data, from step to step
    main(
        "a lock in the flow's state",
        "F06",
        "test_runs.py::test_what_steps_hand_over_is_plain_data",
        ('    plan: str = "free"\n', '    plan: str = "free"\n    guard: Any = None\n'),
        (DRAFT, DRAFT + '        self.state.guard = __import__("threading").Lock()\n'),
        ("from typing import Literal", "from typing import Any, Literal"),
    ),
    main(
        "a connection in the flow's state",
        "F06",
        "test_runs.py::test_what_steps_hand_over_is_plain_data",
        ('    plan: str = "free"\n', '    plan: str = "free"\n    rows: Any = None\n'),
        (DRAFT, DRAFT + '        self.state.rows = __import__("sqlite3").connect(":memory:")\n'),
        ("from typing import Literal", "from typing import Any, Literal"),
    ),
    main(
        "a function in the flow's state",
        "F06",
        "test_runs.py::test_what_steps_hand_over_is_plain_data",
        ('    plan: str = "free"\n', '    plan: str = "free"\n    then: Any = None\n'),
        (DRAFT, DRAFT + "        self.state.then = lambda: 1\n"),
        ("from typing import Literal", "from typing import Any, Literal"),
    ),
    # F07: threads without a bound
    tool(
        "a pool of 64 threads",
        "F07",
        "test_runs.py::test_tools_start_few_threads",
        "",
        "ThreadPoolExecutor(max_workers=64).shutdown()",
    ),
    tool(
        "a thread for each word",
        "F07",
        "test_runs.py::test_tools_start_few_threads",
        "",
        "for each in [threading.Thread(target=time.sleep, args=(0.2,)) for _ in range(30)]:\n            each.start()",
    ),
    tool(
        "a pool as large as the machine says",
        "F07",
        "test_runs.py::test_tools_start_few_threads",
        "",
        "ThreadPoolExecutor().shutdown()",
    ),
    tool(
        "a pool of 32 threads on the module",
        "F07",
        "test_runs.py::test_tools_start_few_threads",
        "POOL = ThreadPoolExecutor(32)",
        "assert list(POOL.map(len, [query]))",
    ),
    # F10: data on a module, a class or in a cache
    tool(
        "questions in a list on the module",
        "F10",
        "test_runs.py::test_no_module_keeps_what_a_run_was_given",
        "ASKED: list[str] = []",
        "ASKED.append(str(RunContext.current().input))",
    ),
    tool(
        "questions on the tool's class",
        "F10",
        "test_runs.py::test_no_module_keeps_what_a_run_was_given",
        "class Notes:\n    asked: dict[str, str] = {}",
        'Notes.asked["last"] = str(RunContext.current().input)',
    ),
    tool(
        "answers in functools.cache",
        "F10",
        "test_runs.py::test_no_module_keeps_what_a_run_was_given",
        "@cache\ndef _kept(text: str) -> str:\n    return text.upper()",
        "_kept(str(RunContext.current().input))",
    ),
    tool(
        "a counter on the tool's class",
        "F10",
        "test_runs.py::test_no_module_keeps_what_a_run_was_given",
        "class Calls:\n    count = 0",
        "Calls.count += 1",
    ),
    # F12: a call that waits, on the event loop
    Mutant(
        "a coroutine of a tool sleeps",
        "F12",
        "test_runs.py::test_no_coroutine_waits",
        {
            TOOL: [
                (
                    "class Search(BaseModel):",
                    "async def _rest() -> None:\n    time.sleep(0.01)\n\n\nclass Search(BaseModel):",
                ),
                (RUN_TOOL, RUN_TOOL + "        asyncio.run(_rest())\n"),
            ]
        },
    ),
    main(
        "a step of the flow waits for a subprocess",
        "F12",
        "test_runs.py::test_no_coroutine_waits",
        ("    def answer(self) -> None:", "    async def answer(self) -> None:"),
        (
            KICKOFF,
            '        subprocess.run(["true"], check=True)\n        output = await crew.kickoff_async(inputs=ticket.model_dump())\n',
        ),
        ("import sys\n", "import subprocess\nimport sys\n"),
    ),
    Mutant(
        "an async tool asks a server by a blocking client",
        "F12",
        "test_runs.py::test_no_coroutine_waits",
        {
            TOOL: [
                (
                    "class Search(BaseModel):",
                    'async def _ask() -> None:\n    run = RunContext.current()\n    base = str(run.llm("fast").base_url)\n'
                    '    httpx.get(base + "/models", timeout=5)\n\n\nclass Search(BaseModel):',
                ),
                (RUN_TOOL, RUN_TOOL + "        asyncio.run(_ask())\n"),
            ]
        },
    ),
    Mutant(
        "the gateway's submissions wait on its loop",
        "F12",
        "test_gateway.py::test_the_gateway_answers_while_its_database_does_not",
        {
            f"{RUNTIME}api/submit.py": [
                (
                    "            new = intake.NewRun(\n",
                    '            __import__("time").sleep(0.5)\n            new = intake.NewRun(\n',
                )
            ]
        },
    ),
    # F21: what a model wrote is run
    tool("eval of a question", "F21", "test_runs.py::test_no_tool_runs_what_a_model_wrote", "", "eval(repr(query))"),
    tool(
        "exec in a helper",
        "F21",
        "test_runs.py::test_no_tool_runs_what_a_model_wrote",
        "def _do(text: str) -> None:\n    exec(text)",
        '_do(f"x = {query!r}")',
    ),
    tool("a shell", "F21", "test_runs.py::test_no_tool_runs_what_a_model_wrote", "", 'os.system("true")'),
    tool(
        "Python in a subprocess",
        "F21",
        "test_runs.py::test_no_tool_runs_what_a_model_wrote",
        "",
        'subprocess.run([__import__("sys").executable, "-c", f"x = {query!r}"], check=True)',
    ),
]
