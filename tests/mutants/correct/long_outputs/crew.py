"""A flow that writes a report section by section, from an archive whose pages are long."""

from collections.abc import Callable

from crewai import Agent, Crew, Flow, Task
from crewai.flow import listen, start
from crewai.tools import BaseTool
from crewyard_runtime import ApplicationSettings, RunContext
from pydantic import BaseModel

from .application import Report, Section, Subject

PAGE = 50_000
SENTENCE = "The keeper noted the weather, the ships that passed and the oil that the lamp had burned. "


class ReadArchive(BaseTool):
    """Gives a page of the archive."""

    name: str = "read_archive"
    description: str = "Read the page of the archive about a subject."

    def _run(self, subject: str) -> str:
        return f"# {subject}\n\n" + (SENTENCE * (PAGE // len(SENTENCE) + 1))[:PAGE]


class CopyArchive(ReadArchive):
    """Gives the page as the agent's answer."""

    name: str = "copy_archive"
    description: str = "Copy the page of the archive about a subject into the report."
    result_as_answer: bool = True


class State(BaseModel):
    """What the steps know."""

    subject: str = ""
    sections: int = 3
    outline: str = ""
    written: list[Section] = []


class ReportFlow(Flow[State]):
    """One report."""

    make_crew: Callable[[BaseTool, str], Crew]
    folder: str

    @start()
    def outline(self) -> None:
        """From one page of the archive."""
        crew = self.make_crew(ReadArchive(), "Read the archive and outline a report about {subject}.")
        self.state.outline = str(crew.kickoff(inputs={"subject": self.state.subject, "folder": self.folder}))

    @listen(outline)
    def write(self) -> int:
        """Each section by a crew of its own."""
        for number in range(1, self.state.sections + 1):
            crew = self.make_crew(CopyArchive(), "Write a section of the report about {subject}.")
            inputs = {"subject": f"{self.state.subject}, part {number}", "folder": self.folder}
            text = str(crew.kickoff(inputs=inputs))
            self.state.written.append(Section(title=f"Part {number}", text=text))
        return len(self.state.written)

    @listen(write)
    def bind(self) -> Report:
        """All of it, once as data and once as a document."""
        markdown = "\n\n".join(f"## {section.title}\n\n{section.text}" for section in self.state.written)
        return Report(subject=self.state.subject, sections=self.state.written, markdown=markdown)


def build_crew(run: RunContext[ApplicationSettings, Subject]) -> ReportFlow:
    """The crews are made by the steps that need them."""

    def make_crew(tool: BaseTool, what: str) -> Crew:
        writer = Agent(
            role="Archivist",
            goal="Write long reports",
            backstory="You leave nothing out.",
            llm=run.llm("strong"),
            tools=[tool],
            max_iter=run.limits.max_iter,
        )
        task = Task(description=what, expected_output="A long text.", agent=writer, output_file="{folder}/notes.md")
        return Crew(agents=[writer], tasks=[task])

    return ReportFlow(make_crew=make_crew, folder=str(run.workspace))
