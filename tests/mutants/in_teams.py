"""The failures in the idioms of AutoGen's three APIs, with the very messages that its users report."""

from mutants.edits import MAIN, RUNTIME, TEAM, Mutant

IMPORTED = "test_import.py::test_import_makes_no_agent_crew_client_or_tool"
OUTLIVES = "test_runs.py::test_nothing_that_a_run_made_outlives_it"
SUCCEEDS = "test_runs.py::test_every_run_succeeds"
READS = "test_import.py::test_import_reads_no_variable"
PLAIN = "test_runs.py::test_what_steps_hand_over_is_plain_data"
ENDS = "test_limits.py::test_a_provider_that_always_fails_ends_the_run"
BUILD = {
    "autogen": "def build_team(run: RunContext[Settings, Ticket]) -> GroupChatManager:\n",
    "agentchat": "def build_team(run: RunContext[Settings, Ticket]) -> SelectorGroupChat:\n",
    "agent-framework": "def build_team(run: RunContext[Settings, Ticket]) -> Workflow:\n",
}
DESK = '    desk = UserProxyAgent("desk", human_input_mode="NEVER", code_execution_config=False)\n'
LLM = "from autogen import (\n"
CALLED = {
    "autogen": '        desk = self._chat.agent_by_name("desk")\n',
    "agentchat": "        result = await self._team.run(task=TASK.format(**self._run.input.model_dump()))\n",
    "agent-framework": "        result = await self._team.run(TASK.format(**self._run.input.model_dump()))\n",
}
HELD = "    return SupportDesk(run, build_team(run))\n"


def team(framework: str, name: str, failure: str, caught_by: str, *edits: tuple[str, str], also: str = "") -> Mutant:
    """The module of the team, edited."""
    return Mutant(name, failure, caught_by, {TEAM: list(edits)}, also, framework)


def main(framework: str, name: str, failure: str, caught_by: str, *edits: tuple[str, str], also: str = "") -> Mutant:
    """The module of the desk, edited."""
    return Mutant(name, failure, caught_by, {MAIN: list(edits)}, also, framework)


def above(framework: str, code: str) -> tuple[str, str]:
    """Something above the build function."""
    return (BUILD[framework], f"{code}\n\n\n{BUILD[framework]}")


def before(framework: str, code: str) -> tuple[str, str]:
    """Something before the team is run."""
    return (CALLED[framework], f"        {code}\n{CALLED[framework]}")


def one_team(framework: str, kind: str) -> Mutant:
    """A team that serves all runs."""
    kept = f"_ONE: list[{kind}] = []\n\n\ndef build_desk("
    reused = "    if not _ONE:\n        _ONE.append(build_team(run))\n    return SupportDesk(run, _ONE[0])\n"
    edits = [("def build_desk(", kept), (HELD, reused)]
    return main(framework, "one team for all runs", "F01", OUTLIVES, *edits, also="F02 F10 F13")


MUTANTS = [
    # F01: something outlives its run
    team(
        "autogen",
        "an assistant on the module",
        "F01",
        IMPORTED,
        above("autogen", 'HELPER = AssistantAgent("helper", llm_config=False)'),
    ),
    team(
        "agentchat",
        "an agent with its client on the module",
        "F01",
        IMPORTED,
        above(
            "agentchat",
            'HELPER = AssistantAgent("helper", OpenAIChatCompletionClient(model="gpt-4o", api_key="x"))',
        ),
        (
            "from crewyard_runtime import",
            "from autogen_ext.models.openai import OpenAIChatCompletionClient\nfrom crewyard_runtime import",
        ),
    ),
    team(
        "agent-framework",
        "a client on the module",
        "F01",
        IMPORTED,
        above("agent-framework", 'CLIENT = OpenAIChatCompletionClient("gpt-4o", api_key="x")'),
        (
            "from crewyard_runtime import",
            "from agent_framework.openai import OpenAIChatCompletionClient\nfrom crewyard_runtime import",
        ),
    ),
    one_team("autogen", "GroupChatManager"),
    one_team("agentchat", "SelectorGroupChat"),
    one_team("agent-framework", "Workflow"),
    # F03: InvalidConfigError, as it is called in the field
    team(
        "autogen",
        "a model without a key: Missing credentials",
        "F03",
        SUCCEEDS,
        (
            'LLMConfig(*run.llm("fast").config_list, response_format=Triage)',
            'LLMConfig({"model": "gpt-4o"}, response_format=Triage)',
        ),
    ),
    team(
        "autogen",
        "a key that is missing in a replica: InvalidConfigError",
        "F03",
        SUCCEEDS,
        above(
            "autogen",
            'class InvalidConfigError(Exception):\n    """The settings of a model are incomplete."""',
        ),
        (
            DESK,
            '    if not __import__("os").environ.get("HELPER_API_KEY"):\n        raise InvalidConfigError("api_key must be provided")\n'
            + DESK,
        ),
        also="F04",
    ),
    # F04: a config_list at import
    team(
        "autogen",
        "a config_list of the environment, at import",
        "F04",
        READS,
        above("autogen", 'CONFIG_LIST = [{"model": os.environ.get("OPENAI_MODEL", "gpt-4o"), "api_key": "none"}]'),
        ("from typing import Any\n", "import os\nfrom typing import Any\n"),
    ),
    team(
        "autogen",
        "a config_list of a variable, by AutoGen's own reader, at import",
        "F04",
        READS,
        above("autogen", 'CONFIG = LLMConfig.from_json(env="OAI_CONFIG_LIST")'),
        (
            "from typing import Any\n",
            "import os\nfrom typing import Any\n\n"
            """os.environ["OAI_CONFIG_LIST"] = '[{"model": "gpt-4o", "api_key": "none"}]'\n""",
        ),
    ),
    team(
        "autogen",
        "a key of the environment that is not there, at import",
        "F04",
        READS,
        above("autogen", 'API_KEY = os.environ["OPENAI_API_KEY"]'),
        ("from typing import Any\n", "import os\nfrom typing import Any\n"),
    ),
    team(
        "autogen",
        "a client object in the llm_config, at import",
        "F06",
        IMPORTED,
        above(
            "autogen",
            'HELPER = AssistantAgent("helper", llm_config={"model": "gpt-4o", "client": openai.OpenAI(api_key="x")})',
        ),
        ("from crewyard_runtime import", "import openai\nfrom crewyard_runtime import"),
    ),
    team(
        "agentchat",
        "a model's name of the environment, at import",
        "F04",
        READS,
        above("agentchat", 'MODEL = os.getenv("OPENAI_MODEL", "gpt-4o")'),
        ("from collections.abc import Sequence\n", "import os\nfrom collections.abc import Sequence\n"),
    ),
    # F06: cannot pickle '_thread.lock' object
    main(
        "autogen",
        "a team that is copied: cannot pickle '_thread.lock' object",
        "F06",
        SUCCEEDS,
        before("autogen", 'copy.deepcopy({"team": self._team, "guard": threading.Lock()})'),
        ("from typing import TypeVar\n", "import copy\nimport threading\nfrom typing import TypeVar\n"),
    ),
    main(
        "agentchat",
        "a team that is sent to another process: cannot pickle '_thread.lock' object",
        "F06",
        SUCCEEDS,
        before("agentchat", 'pickle.dumps({"guard": threading.Lock(), "team": self._team})'),
        ("import asyncio\n", "import asyncio\nimport pickle\nimport threading\n"),
    ),
    team(
        "autogen",
        "a lock in the context variables",
        "F06",
        PLAIN,
        (
            'human_input_mode="NEVER", code_execution_config=False)\n',
            'human_input_mode="NEVER", code_execution_config=False, context_variables=ContextVariables({"guard": threading.Lock()}))\n',
        ),
        ("from typing import Any\n", "import threading\nfrom typing import Any\n"),
        (
            "from crewyard_runtime import",
            "from autogen.agentchat.group import ContextVariables\nfrom crewyard_runtime import",
        ),
    ),
    # F08: no end
    team("autogen", "a thousand rounds", "F08", ENDS, ("max_round=run.limits.max_turns", "max_round=1000")),
    team(
        "autogen",
        "a human who is asked",
        "F08",
        ENDS,
        (
            'UserProxyAgent("desk", human_input_mode="NEVER", code_execution_config=False)',
            'UserProxyAgent("desk", code_execution_config=False)',
        ),
    ),
    team("agentchat", "no turn is the last", "F08", ENDS, ("        max_turns=run.limits.max_turns,\n", "")),
    team(
        "agentchat",
        "a client without limits",
        "F08",
        "test_limits.py::test_a_throttled_call_is_tried_again",
        ('model_client=run.llm("strong")', 'model_client=OpenAIChatCompletionClient(model="gpt-4o", api_key="x")'),
        (
            "from crewyard_runtime import",
            "from autogen_ext.models.openai import OpenAIChatCompletionClient\nfrom crewyard_runtime import",
        ),
    ),
    team(
        "agent-framework",
        "a workflow of a hundred steps",
        "F08",
        ENDS,
        (", max_iterations=run.limits.max_turns", ""),
    ),
    # F11: the history
    Mutant(
        "a history that grows",
        "F11",
        "test_limits.py::test_the_history_of_messages_is_bounded",
        {
            f"{RUNTIME}frameworks/model_calls.py": [
                ("        messages = bounded_history(messages, run.limits.history_messages)\n", "")
            ]
        },
        framework="agentchat",
    ),
    # F12: on the event loop
    main(
        "agentchat",
        "a desk that sleeps",
        "F12",
        "test_runs.py::test_no_coroutine_waits",
        before("agentchat", "time.sleep(0.01)"),
        ("import asyncio\n", "import asyncio\nimport time\n"),
    ),
    main(
        "agent-framework",
        "a desk that sleeps",
        "F12",
        "test_runs.py::test_no_coroutine_waits",
        before("agent-framework", "time.sleep(0.01)"),
        ("import asyncio\n", "import asyncio\nimport time\n"),
    ),
    # F13: Event loop is closed
    team(
        "agentchat",
        "one client for all runs",
        "F13",
        SUCCEEDS,
        above("agentchat", "_CLIENTS: list[Any] = []"),
        (
            '        model_client=run.llm("fast"),\n        description',
            "        model_client=_CLIENTS[0],\n        description",
        ),
        (
            "    triager = AssistantAgent(",
            '    if not _CLIENTS:\n        _CLIENTS.append(run.llm("fast"))\n    triager = AssistantAgent(',
        ),
        ("from collections.abc import Sequence\n", "from collections.abc import Sequence\nfrom typing import Any\n"),
        also="F01 F10",
    ),
    team(
        "agent-framework",
        "one client for all runs",
        "F13",
        SUCCEEDS,
        above("agent-framework", "_CLIENTS: list[Any] = []"),
        (
            '    triager = Agent(\n        run.llm("fast"),',
            '    if not _CLIENTS:\n        _CLIENTS.append(run.llm("fast"))\n    triager = Agent(\n        _CLIENTS[0],',
        ),
        ("from agent_framework import (\n", "from typing import Any\n\nfrom agent_framework import (\n"),
        also="F01 F10",
    ),
    *(
        main(
            framework,
            "a connection of the run before: Event loop is closed",
            "F13",
            SUCCEEDS,
            ("class SupportDesk:", "_HTTP: list[httpx.AsyncClient] = []\n\n\nclass SupportDesk:"),
            before(
                framework,
                "if not _HTTP:\n            _HTTP.append(httpx.AsyncClient())\n"
                f"        await _HTTP[0].get(str({client}.base_url) + 'models')",
            ),
            ("import asyncio\n", "import asyncio\nimport httpx\n"),
            also="F10",
        )
        for framework, client in {
            "agentchat": 'self._run.llm("fast")._client',
            "agent-framework": 'self._run.llm("fast").client',
        }.items()
    ),
    # F15: a cache on the disk
    team(
        "autogen",
        "answers from a cache on the disk",
        "F15",
        ENDS,
        ("response_format=Draft)", "response_format=Draft, cache_seed=42)"),
    ),
    # F16: to and fro
    Mutant(
        "handoffs that nobody counts",
        "F16",
        "test_limits.py::test_agents_do_not_delegate_for_ever",
        {
            TEAM: [
                (
                    "    return SelectorGroupChat(",
                    '    first = AssistantAgent("first", model_client=run.llm("fast"), handoffs=["second"])\n'
                    '    second = AssistantAgent("second", model_client=run.llm("fast"), handoffs=["first"])\n'
                    "    return Swarm([first, second], max_turns=run.limits.max_turns)\n"
                    "    return SelectorGroupChat(",
                ),
                ("teams import SelectorGroupChat", "teams import SelectorGroupChat, Swarm"),
            ],
            MAIN: [
                (
                    "        triage, draft = latest(Triage, result), latest(Draft, result)\n",
                    '        triage = Triage(category="other", urgency="low", summary="")\n'
                    '        draft = Draft(body=result.messages[-1].to_text()[:900] or "-", articles=[], answers_the_question=True)\n',
                )
            ],
            f"{RUNTIME}frameworks/agentchat/hooks.py": [
                (
                    "    if reason := run.delegations.record(message.source, message.target):\n",
                    "    if reason := None:\n",
                )
            ],
        },
        also="F08",
        framework="agentchat",
    ),
    # F17, F18
    main(
        "autogen",
        "an error that nobody is told",
        "F18",
        ENDS,
        ("        desk.initiate_chat(self._team,", "        try:\n            desk.initiate_chat(self._team,"),
        (
            "message=TASK.format(**self._run.input.model_dump()))\n",
            'message=TASK.format(**self._run.input.model_dump()))\n        except Exception:\n            return Reply(body="Sorry.", articles=[], category="other", handled_by="person")\n',
        ),
    ),
    # F21: code outside of the sandbox
    team(
        "autogen",
        "code that is executed in a directory, as in the tutorial",
        "F21",
        SUCCEEDS,
        (
            'human_input_mode="NEVER", code_execution_config=False',
            'human_input_mode="NEVER", code_execution_config={"work_dir": "tmp"}',
        ),
    ),
    team(
        "autogen",
        "code that is executed on this machine",
        "F21",
        SUCCEEDS,
        (
            'human_input_mode="NEVER", code_execution_config=False',
            'human_input_mode="NEVER", code_execution_config={"work_dir": "tmp", "use_docker": False}',
        ),
    ),
    # F26: cost
    Mutant(
        "all steps on the strong model",
        "F26",
        "test_limits.py::test_simple_steps_go_to_the_fast_model",
        {
            TEAM: [
                (
                    '        model_client=run.llm("fast"),\n        description',
                    '        model_client=run.llm("strong"),\n        description',
                )
            ]
        },
        framework="agentchat",
    ),
    Mutant(
        "calls that are not counted",
        "F26",
        "test_limits.py::test_every_model_call_is_counted",
        {
            f"{RUNTIME}frameworks/model_calls.py": [
                (
                    '            call.count(getattr(answer, "usage", None))\n        return answer\n\n    held.held_by',
                    "            pass\n        return answer\n\n    held.held_by",
                )
            ]
        },
        framework="autogen",
    ),
]
