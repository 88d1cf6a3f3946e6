"""One run of a sample in which the first draft has a placeholder: prints the outcome and what models were told.

By the project's own Python.
"""

import json
import tempfile
import time

from crewyard_runtime.application import find_application
from crewyard_runtime.execution.messages import RunRequest
from crewyard_runtime.execution.work import work
from crewyard_runtime.settings import RuntimeSettings, plain
from crewyard_runtime.testing.model_server import ModelServer

TRIAGE = {"category": "billing", "urgency": "low", "summary": "An invoice."}
DRAFT = {"body": "Kind regards, [Your Name]", "articles": [], "answers_the_question": True}
GOOD = {**DRAFT, "body": "Kind regards, Lumen Notes"}


def main() -> None:
    """The three answers come in this order, each where no tool is called first."""
    application = find_application()
    with ModelServer() as server, tempfile.TemporaryDirectory() as place:
        settings = RuntimeSettings.load(openai_base_url=server.url, openai_api_key="offline", memory="none")
        for answer in (TRIAGE, DRAFT, GOOD):
            server.reply(json.dumps(answer))
        request = RunRequest(
            run_id="one",
            input=json.loads(application.example_lines()[0]),
            settings=plain(application.settings.load()),
            runtime=plain(settings),
            workspace=place,
            deadline=time.time() + 60,
        )
        outcome = work(application, request, lambda kind, data: None)
        told = [str(body["messages"]) for body in (each["body"] for each in server.requests) if body]
    print(json.dumps({"outcome": outcome.model_dump(mode="json"), "told": told}))


if __name__ == "__main__":
    main()
