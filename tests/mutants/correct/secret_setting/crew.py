"""One agent who asks the customer database."""

from crewai import Agent, Crew, Task
from crewai.tools import BaseTool
from crewyard_runtime import RunContext
from pydantic import SecretStr

from .application import Advice, Customer, Settings


class AskDatabase(BaseTool):
    """Holds the key as what it is."""

    name: str = "ask_customer_database"
    description: str = "Ask the customer database about a customer."
    url: str
    token: SecretStr

    def _run(self, customer: str) -> str:
        headers = {"Authorization": f"Bearer {self.token.get_secret_value()}"}
        if not headers["Authorization"].endswith(self.token.get_secret_value()):
            return f"{self.url} is not there."
        return f"{customer.title()} is a customer since 2019."


def build_crew(run: RunContext[Settings, Customer]) -> Crew:
    """The key comes from the settings and goes to the tool alone."""
    settings = run.settings
    adviser = Agent(
        role=f"Adviser for {settings.crm_region}",
        goal="Know the customer",
        backstory="You remember faces.",
        llm=run.llm("fast"),
        tools=[AskDatabase(url=str(settings.crm_url), token=settings.crm_token)],
        max_iter=run.limits.max_iter,
    )
    advise = Task(
        description="What shall we tell {customer}? {question}",
        expected_output="The text and the next step.",
        agent=adviser,
        output_pydantic=Advice,
    )
    return Crew(agents=[adviser], tasks=[advise])
