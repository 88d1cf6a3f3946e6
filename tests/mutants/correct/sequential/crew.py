"""A researcher, a writer and an editor."""

from crewai import Agent, Crew, Process, Task
from crewyard_runtime import ApplicationSettings, RunContext

from .application import Article, Topic


def build_crew(run: RunContext[ApplicationSettings, Topic]) -> Crew:
    """All three are made for one run."""
    researcher = Agent(
        role="Senior research analyst",
        goal="Find what matters about {topic}",
        backstory="You are known for saying the most relevant thing in the fewest words.",
        llm=run.llm("fast"),
        max_iter=run.limits.max_iter,
        verbose=True,
    )
    writer = Agent(
        role="Content writer",
        goal="Write an engaging article about {topic} for {audience}",
        backstory="You turn dry facts into stories that people finish reading.",
        llm=run.llm("strong"),
        max_iter=run.limits.max_iter,
        verbose=True,
    )
    editor = Agent(
        role="Editor",
        goal="Make the article correct and short",
        backstory="You have edited a magazine for twenty years.",
        llm=run.llm("strong"),
        max_iter=run.limits.max_iter,
        allow_delegation=False,
    )
    research = Task(
        description="Research {topic} thoroughly. Name the five most important points.",
        expected_output="Five bullet points.",
        agent=researcher,
    )
    write = Task(
        description="Write an article about {topic} for {audience} from the research.",
        expected_output="An article of four paragraphs.",
        agent=writer,
    )
    edit = Task(
        description="Edit the article about {topic}: no repetition, no jargon.",
        expected_output="The article as it is published.",
        agent=editor,
        context=[research, write],
        output_pydantic=Article,
    )
    return Crew(
        agents=[researcher, writer, editor],
        tasks=[research, write, edit],
        process=Process.sequential,
        verbose=True,
    )
