"""Teams of Agent Framework that misbehave in the way their input asks for."""

import asyncio
import pickle
from typing import Any

from agent_framework import Agent, Executor, Workflow, WorkflowBuilder, WorkflowContext, handler, tool
from agent_framework.openai import OpenAIChatClient, OpenAIChatCompletionClient
from crewyard_runtime import Application, RunContext
from runtime.teams.orders import Answer, Order, TypedAnswer, act


class Breaking(Executor):
    """A step whose code is wrong."""

    @handler
    async def take(self, said: str, context: WorkflowContext[str, str]) -> None:
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

    def agent(name: str = "worker", **options: Any) -> Agent:
        return Agent(options.pop("client", None) or run.llm("strong"), "You work.", name=name, **options)

    def workflow(*steps: Any, loop: bool = False, **options: Any) -> Workflow:
        builder = WorkflowBuilder(start_executor=steps[0], **{"max_iterations": limits.max_turns, **options})
        builder = builder.add_chain(steps) if len(steps) > 1 else builder
        return (builder.add_edge(steps[-1], steps[0]) if loop else builder).build()

    function: Any = do_it_async if mode.startswith("async") else do_it
    worker = agent(tools=[function])
    match mode:
        case "endless":
            return workflow(agent("first"), agent("second"), loop=True)
        case "no end":
            return WorkflowBuilder(start_executor=worker).build()
        case "too many turns":
            return workflow(worker, max_iterations=limits.max_turns + 1)
        case "human":
            return agent(tools=[tool(function, name="ask_boss", approval_mode="always_require")])
        case "many calls":
            client = run.llm("strong")
            client.function_invocation_configuration["max_iterations"] = limits.max_iter + 1
            return agent(client=client)
        case "own client":
            return agent(client=OpenAIChatCompletionClient("gpt-4o", api_key="sk-of-nobody"))
        case "responses":
            client = OpenAIChatClient("gpt-4o", api_key="sk-of-nobody")
            client.function_invocation_configuration["max_iterations"] = limits.max_iter
            return agent(client=client)
        case "streams":

            async def stream() -> str:
                return "".join([update.text async for update in worker.run(run.input.text, stream=True)])

            return stream
        case "breaks":
            return workflow(Breaking(id="breaker"))
        case "code":
            return agent(tools=[run.code_executor()])
        case "number":
            return 42
        case "pickles":
            return lambda: pickle.dumps(worker)
        case "typed":
            return agent(default_options={"response_format": TypedAnswer})
        case "coroutine":

            async def finish() -> str:
                return (await worker.run(run.input.text)).text

            return finish
    return worker


async def build_async(run: RunContext[Any, Order]) -> Any:
    await asyncio.sleep(0)
    return build(run)


works = Application(name="works", input=Order, output=Answer, build="runtime.teams.agent_framework:build")
typed = Application(name="typed", input=Order, output=TypedAnswer, build="runtime.teams.agent_framework:build")
awaited = Application(name="awaited", input=Order, output=Answer, build="runtime.teams.agent_framework:build_async")
