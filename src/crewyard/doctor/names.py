"""The frameworks' names as data: what makes an agent, a crew, a tool or a model client, and what starts a run."""

FRAMEWORKS = frozenset(
    {
        "crewai",
        "crewai_tools",
        "autogen",
        "pyautogen",
        "autogen_agentchat",
        "autogen_core",
        "autogen_ext",
        "ag2",
        "agent_framework",
    }
)
CREWAI = {
    "Agent": "agent",
    "LiteAgent": "agent",
    "Task": "task",
    "ConditionalTask": "task",
    "Crew": "crew",
    "Flow": "flow",
    "LLM": "model client",
}
AUTOGEN = {
    "GroupChat": "team",
    "GroupChatManager": "team",
    "OpenAIWrapper": "model client",
    "RoundRobinGroupChat": "team",
    "SelectorGroupChat": "team",
    "Swarm": "team",
    "MagenticOneGroupChat": "team",
    "MagenticOne": "team",
    "GraphFlow": "team",
    "SingleThreadedAgentRuntime": "runtime",
    "AutoPattern": "team",
    "DefaultPattern": "team",
    "RoundRobinPattern": "team",
    "RandomPattern": "team",
    "ManualPattern": "team",
}
AUTOGEN_ENDINGS = (
    ("Agent", "agent"),
    ("ChatCompletionClient", "model client"),
    ("CodeExecutor", "code executor"),
    ("Termination", "termination condition"),
)
AUTOGEN_ROOTS = frozenset(
    {"autogen", "pyautogen", "ag2", "autogen_agentchat", "autogen_core", "autogen_ext", "agent_framework"}
)
SDK_CLIENTS = {
    "openai": {"OpenAI", "AsyncOpenAI", "AzureOpenAI", "AsyncAzureOpenAI"},
    "anthropic": {"Anthropic", "AsyncAnthropic"},
    "groq": {"Groq", "AsyncGroq"},
    "mistralai": {"Mistral"},
    "google": {"GenerativeModel"},
}
LANGCHAIN_MODELS = frozenset(
    {
        "AzureOpenAI", "Bedrock", "BedrockLLM", "Cohere", "GoogleGenerativeAI", "HuggingFaceEndpoint", "HuggingFaceHub",
        "HuggingFacePipeline", "LlamaCpp", "Ollama", "OllamaLLM", "OpenAI", "VertexAI", "init_chat_model",
    }
)  # fmt: skip
LANGCHAIN_CHAT = (
    "Prompt",
    "Message",
    "Generation",
    "Result",
    "Session",
)  # ChatPromptTemplate and the like are no clients
LANGCHAIN_TOOLS = ("Tool", "QueryRun", "SearchRun", "SearchResults", "Wrapper")
ASYNC_CLIENTS = frozenset({"AsyncOpenAI", "AsyncAzureOpenAI", "AsyncAnthropic", "AsyncGroq"})

STARTS = frozenset(
    {
        "kickoff", "kickoff_async", "akickoff", "kickoff_for_each", "kickoff_for_each_async", "akickoff_for_each",
        "initiate_chat", "a_initiate_chat", "initiate_chats", "a_initiate_chats",
        "initiate_group_chat", "a_initiate_group_chat",
    }
)  # fmt: skip
# What starts a run only if it is a method of an agent, a crew or a team.
STARTS_OF_KNOWN = frozenset(
    {"run", "run_stream", "a_run", "on_messages", "on_messages_stream", "generate_reply", "execute_task"}
)
BLOCKING_STARTS = frozenset({"kickoff", "kickoff_for_each", "initiate_chat", "initiate_chats", "initiate_group_chat"})
TASK_STARTS = frozenset({"execute", "execute_sync"})  # of a CrewAI task alone
MODEL_CALLS = frozenset({"invoke", "ainvoke", "generate", "predict", "call", "completion", "acompletion"})
RUNNERS = frozenset({"agent", "crew", "team", "flow"})
# Dotted methods that return an object of the class they are called on.
MAKERS = frozenset({"load_component", "from_config", "from_agent", "from_crew", "from_function"})


def kind_of(name: str | None) -> str | None:
    """What a call of this resolved name makes: "agent", "model client", ...; None if nothing of one run."""
    if not name or "." not in name:
        return None
    root, last = name.split(".")[0], name.rsplit(".", 1)[-1]
    if last in MAKERS:
        return kind_of(name.rsplit(".", 1)[0])
    if root == "crewai":
        return CREWAI.get(last) or ("tool" if last.endswith("Tool") and last != "BaseTool" else None)
    if root == "crewai_tools":
        return "tool" if last[:1].isupper() and last != "BaseTool" else None
    if root in AUTOGEN_ROOTS:
        return _of_autogen(last)
    if root.startswith("langchain"):
        return _of_langchain(last)
    return "model client" if last in SDK_CLIENTS.get(root, ()) else None


def _of_autogen(last: str) -> str | None:
    if last in AUTOGEN:
        return AUTOGEN[last]
    if not last[:1].isupper() or last.startswith("Base"):
        return None
    return next((kind for ending, kind in AUTOGEN_ENDINGS if last.endswith(ending) and last != "RoutedAgent"), None)


def _of_langchain(last: str) -> str | None:
    if last in LANGCHAIN_MODELS or (last.startswith("Chat") and not any(word in last for word in LANGCHAIN_CHAT)):
        return "model client"
    return "tool" if last.endswith(LANGCHAIN_TOOLS) and last not in ("Tool", "BaseTool", "StructuredTool") else None


def is_async_client(name: str | None) -> bool:
    """Whether this name makes a client that is bound to the event loop it is first used in."""
    last = (name or "").rsplit(".", 1)[-1]
    return last in ASYNC_CLIENTS or (kind_of(name) == "model client" and last.endswith("ChatCompletionClient"))
