"""AgentChat teams that misbehave in the way their input asks for."""

import asyncio
import pickle
from typing import Any

from autogen_agentchat.agents import AssistantAgent, BaseChatAgent, CodeExecutorAgent, UserProxyAgent
from autogen_agentchat.base import Response
from autogen_agentchat.conditions import MaxMessageTermination, TextMentionTermination
from autogen_agentchat.messages import TextMessage
from autogen_agentchat.teams import RoundRobinGroupChat, SelectorGroupChat, Swarm
from autogen_core.code_executor import CodeExecutor
from autogen_ext.models.openai import OpenAIChatCompletionClient
from crewyard_runtime import Application, RunContext
from runtime.teams.orders import CODE, Answer, Order, TypedAnswer, act

NEVER = TextMentionTermination("the word that no model says")


class Elsewhere(CodeExecutor):
    """An executor that is not the run's."""

    execute_code_blocks = start = stop = restart = None  # type: ignore[assignment]


class Breaking(BaseChatAgent):
    """An agent whose code is wrong."""

    produced_message_types = (TextMessage,)

    async def on_messages(self, messages: Any, cancellation_token: Any) -> Response:
        raise ZeroDivisionError("the agent's own words")

    async def on_reset(self, cancellation_token: Any) -> None:
        pass


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
        return AssistantAgent(name, model_client=options.pop("client", None) or run.llm("strong"), **options)

    tool = do_it_async if mode.startswith("async") else do_it
    worker = agent(tools=[tool], max_tool_iterations=limits.max_iter, reflect_on_tool_use=False)
    pair: list[Any] = [worker, agent("other")]
    turns: Any = {"max_turns": limits.max_turns}
    match mode:
        case "endless":
            return RoundRobinGroupChat(pair, termination_condition=NEVER, **turns)
        case "no end":
            return RoundRobinGroupChat(pair, termination_condition=NEVER)
        case "too many turns":
            return RoundRobinGroupChat(pair, max_turns=limits.max_turns + 1)
        case "nested":
            inner = RoundRobinGroupChat(pair, max_turns=limits.max_turns)
            return RoundRobinGroupChat([inner, agent("third")], max_turns=limits.max_turns)
        case "handoffs":
            first, second = agent("first", handoffs=["second"]), agent("second", handoffs=["first"])
            return Swarm([first, second], **turns)
        case "selector":
            return SelectorGroupChat(
                [worker, agent("other", description="Other")],
                model_client=run.llm("fast"),
                termination_condition=MaxMessageTermination(3),
                **turns,
            )
        case "human":
            return RoundRobinGroupChat([worker, UserProxyAgent("boss")], **turns)
        case "many calls":
            return agent(max_tool_iterations=limits.max_iter + 1)
        case "own client":
            key = "sk-of-nobody"
            return agent(client=OpenAIChatCompletionClient(model="gpt-4o", api_key=key))
        case "streams":
            return agent(model_client_stream=True, tools=[tool], max_tool_iterations=limits.max_iter)
        case "breaks":
            return RoundRobinGroupChat([Breaking("breaker", "Breaks.")], **turns)
        case "code":
            coder = CodeExecutorAgent("coder", run.code_executor())

            async def execute() -> str:
                return (await coder.run(task=CODE)).messages[-1].to_text()

            return execute
        case "code elsewhere":
            return CodeExecutorAgent("coder", Elsewhere())
        case "number":
            return 42
        case "pickles":
            return lambda: pickle.dumps(worker)
        case "typed":
            return agent(output_content_type=TypedAnswer)
        case "catches":

            async def catch() -> str:
                try:
                    await RoundRobinGroupChat([Breaking("breaker", "Breaks.")], max_turns=2).run(task="x")
                except RuntimeError:
                    return "caught"
                return "not reached"

            return catch
        case "coroutine":

            async def finish() -> str:
                return (await worker.run(task=run.input.text)).messages[-1].to_text()

            return finish
    return RoundRobinGroupChat([worker], max_turns=1)


async def build_async(run: RunContext[Any, Order]) -> Any:
    await asyncio.sleep(0)
    return build(run)


works = Application(name="works", input=Order, output=Answer, build="runtime.teams.agentchat:build")
typed = Application(name="typed", input=Order, output=TypedAnswer, build="runtime.teams.agentchat:build")
awaited = Application(name="awaited", input=Order, output=Answer, build="runtime.teams.agentchat:build_async")
