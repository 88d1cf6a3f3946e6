"""Three agents with four tools each."""

from crewai import Agent, Crew, Task
from crewai.agents.agent_builder.base_agent import BaseAgent
from crewai.tools import BaseTool
from crewyard_runtime import ApplicationSettings, RunContext

from .application import Answer, Order
from .tools import (
    AskStatusPage,
    CompareCarriers,
    Convert,
    FetchPage,
    FindOrder,
    KeepNotes,
    business_days,
    check_number,
    greet,
    list_countries,
    make_tools,
    vat,
)


def build_crew(run: RunContext[ApplicationSettings, Order]) -> Crew:
    """Every tool that keeps something is made here."""
    llm = run.llm("fast")
    page, note = make_tools(run)
    lookup: list[BaseTool] = [FindOrder(), check_number(), FetchPage(seconds=run.limits.tool_seconds), note]
    reckon: list[BaseTool] = [vat(), Convert(), business_days(), CompareCarriers(workers=run.limits.tool_concurrency)]
    write: list[BaseTool] = [
        KeepNotes(workspace=run.workspace),
        AskStatusPage(base_url=str(llm.base_url)),
        list_countries(),
        page,
        greet(),
    ]
    agents: list[BaseAgent] = [
        Agent(
            role=role,
            goal=goal,
            backstory="You work at the help desk of a shop.",
            llm=llm,
            tools=tools,
            max_iter=run.limits.max_iter,
        )
        for role, goal, tools in (
            ("Clerk", "Find out about the order {order}", lookup),
            ("Accountant", "Reckon what it costs", reckon),
            ("Writer", "Answer the customer", write),
        )
    ]
    tasks = [
        Task(description="Look at the order {order}. {question}", expected_output="What is known.", agent=agents[0]),
        Task(description="What does it cost in {country}? {question}", expected_output="A sum.", agent=agents[1]),
        Task(
            description="Answer the customer in {country}. {question}",
            expected_output="The answer and its sources.",
            agent=agents[2],
            output_pydantic=Answer,
        ),
    ]
    return Crew(agents=agents, tasks=tasks)
