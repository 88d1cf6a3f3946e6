"""From an application to its result: the model's configuration, the chat, its run and its last words."""

import inspect
from typing import Any

from autogen import ConversableAgent, GroupChat, GroupChatManager, LLMConfig, OpenAIWrapper
from autogen.agentchat.chat import ChatResult
from autogen.io import IOStream
from autogen.tools import Tool

from crewyard_runtime.application import Application
from crewyard_runtime.context import RunContext
from crewyard_runtime.frameworks.autogen.hooks import install_hooks
from crewyard_runtime.frameworks.autogen.limits import unlimited
from crewyard_runtime.frameworks.autogen.silence import Silence
from crewyard_runtime.frameworks.endpoint import endpoint_of
from crewyard_runtime.frameworks.in_loop import new_loop
from crewyard_runtime.frameworks.made import refuse_kind, refuse_made
from crewyard_runtime.frameworks.messages import task_of
from crewyard_runtime.settings import RuntimeSettings

# What must be made anew for each run.
PARTS: tuple[type, ...] = (ConversableAgent, GroupChat, OpenAIWrapper, Tool)

# How an agent is told to answer in a model, whose name is to be filled in.
TYPED = "response_format={}"

# What keeps state on the container's disk: a cache does, and is refused where a model is configured with one.
LOCAL_STORES: tuple[type, ...] = ()


def make_llm(run: RunContext, settings: RuntimeSettings, role: str) -> LLMConfig:
    """A configuration for this run. The client that an agent makes of it tries again after 429 and 5xx."""
    endpoint = endpoint_of(settings, role)
    entry: dict[str, Any] = {
        "api_type": "openai",
        "model": endpoint.model,
        "api_key": endpoint.api_key,
        "base_url": endpoint.base_url,
        "temperature": settings.temperature,
        "timeout": run.limits.model_seconds,
        "max_retries": run.limits.model_retries,
    }
    return LLMConfig({name: value for name, value in entry.items() if value is not None})


def build(application: Application, run: RunContext) -> Any:
    """Call the build function. Raises BuildRefused for what has no limits, and for what cannot be run."""
    install_hooks()
    with IOStream.set_default(Silence()):
        built = application.load_build()(run)
    refuse_made(run, unlimited)
    refuse_kind(application, built, {"a GroupChatManager": GroupChatManager, "an agent": ConversableAgent})
    return built


def kick_off(built: Any, run: RunContext) -> Any:
    """Start a group chat or an agent with the input, or call the function. Raises RunStopped or BuildRefused."""
    try:
        with IOStream.set_default(Silence()):
            result = _work(built, run)
    except Exception as error:
        if run.stopped:
            raise run.stopped from error
        raise
    finally:
        _close(run)
    if run.stopped:
        raise run.stopped
    return result


def _work(built: Any, run: RunContext) -> Any:
    if isinstance(built, ConversableAgent):
        task = task_of(run.input)
        if isinstance(built, GroupChatManager):
            first: Any = built.groupchat.agents[0]
            return first.initiate_chat(built, message=task)
        return built.generate_reply(messages=[{"role": "user", "content": task}])
    result = built()
    if not inspect.isawaitable(result):
        return result
    with new_loop() as loop:
        return loop.run(_awaited(result))


async def _awaited(result: Any) -> Any:
    return await result


def _close(run: RunContext) -> None:
    for wrapper in run.made:
        if isinstance(wrapper, OpenAIWrapper):
            for client in wrapper._clients:
                if (of_sdk := getattr(client, "_oai_client", None)) is not None:
                    of_sdk.close()


def plain_result(result: Any) -> Any:
    """Of a chat what was said last; what a function returned as it is."""
    if isinstance(result, ChatResult):
        result = result.chat_history[-1] if result.chat_history else ""
    if isinstance(result, dict) and "content" in result:
        return result["content"]
    return result
