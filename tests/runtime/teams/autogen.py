"""Teams of AutoGen's classic API that misbehave in the way their input asks for."""

import asyncio
import pickle
from typing import Any

from autogen import (
    AssistantAgent,
    ConversableAgent,
    GroupChat,
    GroupChatManager,
    LLMConfig,
    UserProxyAgent,
    register_function,
)
from autogen.agentchat import initiate_group_chat
from autogen.agentchat.group.patterns import AutoPattern
from crewyard_runtime import Application, RunContext
from runtime.teams.orders import CODE, Answer, Order, TypedAnswer, act


class Breaking(ConversableAgent):
    """An agent whose code is wrong."""

    def generate_reply(self, *args: Any, **kwargs: Any) -> Any:
        raise ZeroDivisionError("the agent's own words")


def build(run: RunContext[Any, Order]) -> Any:
    mode, limits = run.input.mode, run.limits

    def do_it(what: str) -> str:
        """Does it."""
        return act(mode)

    async def do_it_async(what: str) -> str:
        """Does it."""
        if mode == "async sleep":
            await asyncio.sleep(1_000)
        return act(mode.removeprefix("async "))

    def agent(name: str = "worker", **options: Any) -> AssistantAgent:
        return AssistantAgent(name, llm_config=options.pop("config", None) or run.llm("strong"), **options)

    def chat(*agents: ConversableAgent, **options: Any) -> GroupChatManager:
        config = options.pop("config", False)
        turns = {"max_round": limits.max_turns, "speaker_selection_method": "round_robin", **options}
        return GroupChatManager(GroupChat(list(agents), **turns), llm_config=config)

    desk = UserProxyAgent("desk", human_input_mode="NEVER", code_execution_config=False)
    worker = agent()
    tool: Any = do_it_async if mode.startswith("async") else do_it
    register_function(tool, caller=worker, executor=desk, name="do_it", description="Does it.")
    match mode:
        case "endless":
            return chat(agent("first"), agent("second"))
        case "endless pair":
            return lambda: agent("first").initiate_chat(agent("second"), message=run.input.text)
        case "no end" | "too many turns":
            return chat(worker, desk, max_round=limits.max_turns + 1)
        case "selector":
            chosen = {"speaker_selection_method": "auto", "max_round": 3, "config": run.llm("fast")}
            return chat(desk, agent("first"), agent("second"), **chosen)
        case "pattern" | "pattern without a user":
            helper = agent("helper", description="Helps.")
            pattern = AutoPattern(
                initial_agent=worker,
                agents=[worker, helper],
                user_agent=desk if mode == "pattern" else None,
                group_manager_args={"llm_config": run.llm("fast")},
            )
            return lambda: initiate_group_chat(pattern, run.input.text, max_rounds=4)[0]
        case "human":
            return chat(worker, UserProxyAgent("boss", code_execution_config=False))
        case "own client":
            return agent(config=LLMConfig({"model": "gpt-4o", "api_key": "sk-of-nobody"}))
        case "cached":
            return agent(config=LLMConfig(*run.llm("strong").config_list, cache_seed=42))
        case "streams":
            entry = run.llm("strong").config_list[0].model_copy(update={"stream": True})
            return agent(config=LLMConfig(entry))
        case "breaks":
            return chat(desk, Breaking("breaker", human_input_mode="NEVER"))
        case "code":
            coder = ConversableAgent(
                "coder", human_input_mode="NEVER", code_execution_config={"executor": run.code_executor()}
            )
            return lambda: coder.generate_reply(messages=[{"role": "user", "content": CODE}])
        case "human code":
            return UserProxyAgent("boss", code_execution_config={"use_docker": False})
        case "code elsewhere":
            return UserProxyAgent("coder", human_input_mode="NEVER", code_execution_config={"use_docker": False})
        case "number":
            return 42
        case "pickles":
            return lambda: pickle.dumps(worker.client)
        case "typed":
            return agent(config=LLMConfig(*run.llm("strong").config_list, response_format=TypedAnswer))
        case "coroutine":

            async def finish() -> Any:
                return (await desk.a_initiate_chat(worker, message=run.input.text, max_turns=3)).chat_history[-1][
                    "content"
                ]

            return finish
        case "single":
            return agent()
        case _ if mode.startswith("async"):

            async def talk() -> Any:
                return (await desk.a_initiate_chat(worker, message=run.input.text, max_turns=3)).chat_history[-1][
                    "content"
                ]

            return talk
    turns = limits.max_turns // 2 if mode == "chatty" else 2
    return lambda: desk.initiate_chat(worker, message=run.input.text, max_turns=turns)


works = Application(name="works", input=Order, output=Answer, build="runtime.teams.autogen:build")
typed = Application(name="typed", input=Order, output=TypedAnswer, build="runtime.teams.autogen:build")
