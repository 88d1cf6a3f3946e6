"""What goes on without a limit, fails without a cause, or costs what nobody counts."""

from mutants.edits import BUILD, CREW, HOOKS, MAIN, PLATFORM, RUNTIME, TRIAGER, WORK, Mutant, crew, main

DELEGATING = [
    (TRIAGER, TRIAGER + "        allow_delegation=True,\n"),
    ('        llm=run.llm("strong"),\n', '        llm=run.llm("strong"),\n        allow_delegation=True,\n'),
]
REPLY = (
    "        return Reply(\n"
    "            body=draft.body, articles=draft.articles, category=self.state.triage.category, handled_by=handled_by\n"
    "        )\n"
)
MUTANTS = [
    # F08: without a limit
    Mutant(
        "limits without end",
        "F08",
        "test_limits.py::test_limits_are_limits",
        {"platform.toml": [("", "limits.deadline_seconds = 80000\n")]},
    ),
    main(
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
    # F09: a throttled call
    Mutant(
        "no retries by the settings",
        "F09",
        "test_limits.py::test_a_throttled_call_is_tried_again",
        {PLATFORM: [("", "limits.model_retries = 0\n")]},
    ),
    Mutant(
        "the runtime's client tries once",
        "F09",
        "test_limits.py::test_a_throttled_call_is_tried_again",
        {BUILD: [("        max_retries=run.limits.model_retries,\n", "        max_retries=0,\n")]},
    ),
    crew(
        "a client of their own that tries once",
        "F09",
        "test_limits.py::test_a_throttled_call_is_tried_again",
        (
            TRIAGER,
            TRIAGER.replace(
                'run.llm("fast")',
                'LLM(model="openai/gpt-4o-mini", base_url=run.llm("fast").base_url, api_key="x", '
                "timeout=run.limits.model_seconds, max_retries=0)",
            ),
        ),
        ("from crewai import Agent,", "from crewai import LLM, Agent,"),
    ),
    # F11: the history
    Mutant(
        "the runtime bounds no history",
        "F11",
        "test_limits.py::test_the_history_of_messages_is_bounded",
        {HOOKS: [("    context.messages[:] = bounded_history(context.messages, run.limits.history_messages)\n", "")]},
    ),
    Mutant(
        "a history as long as a settings file allows",
        "F11",
        "test_limits.py::test_the_history_of_messages_is_bounded",
        {PLATFORM: [("", "limits.history_messages = 1000\n")]},
    ),
    Mutant(
        "the runtime cuts nothing off",
        "F11",
        "test_limits.py::test_the_history_of_messages_is_bounded",
        {f"{RUNTIME}frameworks/messages.py": [("    return [*head, *tail]\n", "    return messages\n")]},
    ),
    # F16: to and fro
    Mutant(
        "delegations that nobody counts",
        "F16",
        "test_limits.py::test_agents_do_not_delegate_for_ever",
        {
            CREW: DELEGATING,
            f"{RUNTIME}guardrails/delegation.py": [
                ("            if self._count <= self._allowed:\n", "            if self._count:\n")
            ],
        },
    ),
    Mutant(
        "delegations that are no delegations to the runtime",
        "F16",
        "test_limits.py::test_agents_do_not_delegate_for_ever",
        {
            CREW: DELEGATING,
            HOOKS: [
                (
                    'DELEGATION_TOOLS = ("delegate_work_to_coworker", "ask_question_to_coworker")',
                    "DELEGATION_TOOLS = ()",
                )
            ],
        },
    ),
    Mutant(
        "twenty delegations in a row by the settings",
        "F16",
        "test_limits.py::test_agents_do_not_delegate_for_ever",
        {CREW: DELEGATING, PLATFORM: [("", "limits.delegations_in_a_row = 20\n")]},
    ),
    # F17: an output that is none
    Mutant(
        "whatever comes is handed on",
        "F17",
        "test_limits.py::test_a_model_that_always_answers_nonsense_ends_the_run",
        {
            f"{RUNTIME}execution/work.py": [
                (
                    "outcome.output = valid_output(application, result, framework.TYPED, run.ended)",
                    "outcome.output = str(result)",
                )
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
    Mutant(
        "the flow returns what it likes, unvalidated",
        "F17",
        "test_runs.py::test_every_output_is_what_the_application_promises",
        {
            WORK: [
                (
                    "outcome.output = valid_output(application, result, framework.TYPED, run.ended)",
                    "outcome.output = result",
                )
            ],
            MAIN: [(REPLY, '        return {"body": draft.body}  # type: ignore\n')],
        },
    ),
    Mutant(
        "a model of the output that checks nothing",
        "F17",
        "test_runs.py::test_every_output_is_what_the_application_promises",
        {
            WORK: [
                (
                    '        return _validated(model, data).model_dump(mode="json")\n',
                    '        return model.model_construct(**data).model_dump(mode="json", warnings=False)\n',
                )
            ],
            MAIN: [(REPLY, '        return {"body": draft.body}  # type: ignore\n')],
        },
    ),
    main(
        "a reply without what the next system needs",
        "F17",
        "test_runs.py::test_every_run_succeeds",
        (REPLY, '        return {"body": draft.body}  # type: ignore\n'),
    ),
    # F18: an error without its cause
    main(
        "an error without its cause",
        "F18",
        "test_limits.py::test_a_provider_that_always_fails_ends_the_run",
        (
            "        output = crew.kickoff(inputs=ticket.model_dump())\n",
            '        try:\n            output = crew.kickoff(inputs=ticket.model_dump())\n        except Exception:\n            failed = "failed"\n        else:\n            failed = ""\n        if failed:\n            raise RuntimeError(failed)\n',
        ),
    ),
    Mutant(
        "the runtime forgets what an error came from",
        "F18",
        "test_limits.py::test_an_error_is_told_with_all_that_it_came_from",
        {
            f"{RUNTIME}errors.py": [
                ("[*members, current.__cause__ or current.__context__, *waiting]", "[*members, *waiting]")
            ]
        },
    ),
    Mutant(
        "a log that names no run",
        "F18",
        "test_limits.py::test_every_line_that_a_run_logs_names_it",
        {f"{RUNTIME}execution/child.py": [("        logs.process_is_for(request.request_id, request.run_id)\n", "")]},
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
    main(
        "a call past the counted client",
        "F26",
        "test_limits.py::test_every_model_call_is_counted",
        (
            "        output = crew.kickoff(inputs=ticket.model_dump())\n",
            '        import httpx\n\n        llm = run.llm("fast")\n        body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": ticket.body}]}\n        httpx.post(f"{llm.base_url}/chat/completions", json=body, headers={"authorization": "Bearer x"})\n        output = crew.kickoff(inputs=ticket.model_dump())\n',
        ),
    ),
    Mutant(
        "a budget that ends nothing",
        "F26",
        "test_limits.py::test_a_budget_ends_the_run",
        {f"{RUNTIME}context.py": [("        if used.tokens >= limits.max_tokens:\n", "        if used.tokens < 0:\n")]},
    ),
    Mutant(
        "a budget as large as it gets",
        "F26",
        "test_limits.py::test_a_budget_ends_the_run",
        {PLATFORM: [("", "limits.max_tokens = 2000000000\n")]},
    ),
    crew(
        "the dear model for each step",
        "F26",
        "test_limits.py::test_simple_steps_go_to_the_fast_model",
        (TRIAGER, TRIAGER.replace('run.llm("fast")', 'run.llm("strong")')),
    ),
    Mutant(
        "the runtime knows one model",
        "F26",
        "test_limits.py::test_simple_steps_go_to_the_fast_model",
        {BUILD: [("    model = settings.model(role)\n", '    model = settings.model("strong")\n')]},
    ),
]
