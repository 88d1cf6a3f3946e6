"""What crosses users, gets lost with a worker, or shows what is secret."""

from mutants.edits import HOOKS, KICKOFF, MODELS, RETURN_CREW, RUNTIME, STORE, WORK, Mutant, crew, main, tool

KNOWS = "test_memory.py::test_agents_know_their_user_and_no_other"
PIPELINE = "test_image.py::test_packages_are_locked_and_have_aged"
IMAGE = "test_image.py::test_an_image_is_locked_and_not_run_by_root"
A_KEY = "sk-proj-4f9Kq2Lx8Vb3Nn7Rt6Zc1Wd5"

MUTANTS = [
    # F14: what one user said reaches another
    main(
        "what all customers said, in a file",
        "F14",
        KNOWS,
        (
            KICKOFF,
            '        notes = Path("/tmp/crewyard-mutant-notes.txt")\n'
            '        crew.agents[0].backstory += notes.read_text() if notes.exists() else ""\n'
            '        with notes.open("a") as file:\n            file.write(ticket.body)\n' + KICKOFF,
        ),
        ("import sys\n", "import sys\nfrom pathlib import Path\n"),
        also="F02 F05",
    ),
    main(
        "what all customers said, in a database of their own",
        "F14",
        KNOWS,
        (
            KICKOFF,
            '        rows = sqlite3.connect("/tmp/crewyard-mutant-notes.db", isolation_level=None)\n'
            '        rows.execute("CREATE TABLE IF NOT EXISTS said (what)")\n'
            '        crew.agents[0].backstory += str(rows.execute("SELECT * FROM said").fetchall())\n'
            '        rows.execute("INSERT INTO said VALUES (?)", [ticket.body])\n' + KICKOFF,
        ),
        ("import sys\n", "import sqlite3\nimport sys\n"),
        also="F02 F05",
    ),
    Mutant(
        "everybody is one user to the memory",
        "F14",
        KNOWS,
        {
            WORK: [
                (
                    "open_memory(settings, request.user_id, request.memory_token,",
                    'open_memory(settings, request.user_id and "all", request.memory_token,',
                )
            ],
            f"{RUNTIME}jobs/memory_tokens.py": [("key.sign(user_id,", 'key.sign("all",')],
        },
        also="F15",
    ),
    # F15: what must last does not
    Mutant(
        "the runtime does not tell what is known",
        "F15",
        KNOWS,
        {HOOKS: [("        tell_what_is_known(context.messages, run.known.text())", "        pass")]},
    ),
    Mutant(
        "a run gets no memory",
        "F15",
        KNOWS,
        {
            f"{RUNTIME}memory/opening.py": [
                ('    if settings.memory == "none" or user_id is None:\n', "    if settings.memory:\n")
            ]
        },
        also="F18",
    ),
    Mutant(
        "agents are told nothing, by the settings",
        "F15",
        KNOWS,
        {"platform.toml": [("", "limits.memory_tokens = 0\n")]},
    ),
    main(
        "a flow that CrewAI persists on the disk",
        "F15",
        "test_runs.py::test_nothing_that_must_last_is_kept_on_the_disk",
        ("class SupportFlow(", "@persist()\nclass SupportFlow("),
        ("from crewai.flow import Flow,", "from crewai.flow.persistence import persist\nfrom crewai.flow import Flow,"),
        also="F05",
    ),
    crew(
        "a crew with CrewAI's own memory",
        "F15",
        "test_runs.py::test_every_run_succeeds",
        (RETURN_CREW, RETURN_CREW.replace("process=", "memory=True, process=")),
    ),
    # F19: a run is lost, or done without an end
    Mutant(
        "a run goes on without its worker",
        "F19",
        "test_faults.py::test_a_killed_worker_loses_no_run",
        {
            f"{RUNTIME}execution/child.py": [
                (
                    "    threading.Thread(target=_guard, args=(connection, lease_seconds, request), daemon=True).start()\n",
                    "",
                )
            ]
        },
    ),
    Mutant(
        "nobody looks for lost runs",
        "F19",
        "test_faults.py::test_a_killed_worker_loses_no_run",
        {
            f"{RUNTIME}jobs/sweeper.py": [
                ("            for ended in runs.sweep(tx):\n", "            for ended in []:\n")
            ]
        },
    ),
    Mutant(
        "an attempt that lost its run records its end",
        "F19",
        "test_faults.py::test_a_frozen_worker_cannot_record_or_go_on",
        {
            STORE: [
                (
                    '    return and_(runs.c.id == claim.id, runs.c.attempt == claim.attempt, runs.c.status == "running")',
                    "    return runs.c.id == claim.id",
                )
            ]
        },
    ),
    Mutant(
        "attempts without end",
        "F19",
        "test_faults.py::test_a_run_whose_process_dies_is_tried_again_and_dead_in_the_end",
        {STORE: [('    again = "dead" if held.lost + 1 >= held.max_attempts else "queued"', '    again = "queued"')]},
    ),
    Mutant(
        "a lost wake-up call is never sent again",
        "F19",
        "test_faults.py::test_a_broker_that_forgets_loses_no_run",
        {f"{RUNTIME}jobs/sweeper.py": [("            if wanted:\n", "            if not wanted:\n")]},
    ),
    # F20: what is installed
    Mutant("packages of this minute", "F20", PIPELINE, {"pyproject.toml": [('exclude-newer = "3 days"', "")]}),
    Mutant("an image that runs as root", "F20", IMAGE, {"Dockerfile": [("USER 10001:10001\n", "")]}),
    Mutant(
        "an image without the lock",
        "F20",
        IMAGE,
        {"Dockerfile": [("uv sync --locked --no-dev --no-install-", "uv sync --no-dev --no-install-")]},
    ),
    Mutant("an image on the latest base", "F20", IMAGE, {"Dockerfile": [(":3.12.12-slim-bookworm", "")]}),
    # F23: secrets
    Mutant(
        "a key in the code",
        "F23",
        "test_secrets.py::test_no_key_is_in_the_projects_files",
        {MODELS: [("class Ticket(BaseModel):", f'API_KEY = "{A_KEY}"\n\n\nclass Ticket(BaseModel):')]},
    ),
    Mutant(
        "a key in an image",
        "F23",
        "test_secrets.py::test_no_key_is_in_the_projects_files",
        {"Dockerfile": [("USER 10001:10001\n", "USER 10001:10001\nENV CRM_TOKEN=7d1f0c9a2b4e48f6a1c3\n")]},
    ),
    tool(
        "a tool prints the key",
        "F23",
        "test_secrets.py::test_no_secret_of_a_run_is_told",
        "",
        'print("asking with", RunContext.current().llm("fast").api_key)',
    ),
    crew(
        "a key in a prompt",
        "F23",
        "test_secrets.py::test_no_secret_of_a_run_is_told",
        (
            '        backstory=agents["resolver"]["backstory"],\n',
            "        backstory=f\"Your key is {run.llm('fast').api_key}.\",\n",
        ),
    ),
]
