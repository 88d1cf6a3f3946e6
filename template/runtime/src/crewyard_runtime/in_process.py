"""A run's context where nobody made one: on CrewAI's own platform, from the environment, in the process that is there.

What is missing there: the deadline is checked before each model call instead of killing, and nothing is stored.
"""

import shutil
import tempfile
import time
import uuid
import weakref
from typing import Any

from pydantic import BaseModel

from crewyard_runtime.context import RunContext
from crewyard_runtime.execution.messages import RunRequest
from crewyard_runtime.execution.work import make_run
from crewyard_runtime.frameworks import load_framework
from crewyard_runtime.settings import plain
from crewyard_runtime.startup import examine


class NotConfigured(RuntimeError):
    """Settings are missing or invalid; the message names all of them."""


def make_context(input: BaseModel) -> RunContext[Any, Any]:
    """A context for `input`, of the application that takes it. Raises NotConfigured, and LookupError if none does."""
    startup = examine(servers=False)
    if startup.problems or startup.settings is None:
        raise NotConfigured("; ".join(f"{each.name} {each.problem}" for each in startup.problems))
    application = next((app for app in startup.applications.values() if isinstance(input, app.input)), None)
    if application is None:
        msg = f"No application takes a {type(input).__name__} as its input."
        raise LookupError(msg)
    framework = load_framework(startup.settings.framework)
    framework.install_hooks()
    workspace = tempfile.mkdtemp(prefix="crewyard-")
    request = RunRequest(
        run_id=uuid.uuid4().hex,
        user_id=startup.settings.user_id,
        input=input.model_dump(mode="json"),
        settings=plain(startup.application_settings[application.name]),
        runtime={},
        workspace=workspace,
        deadline=time.time() + startup.settings.limits.deadline_seconds,
    )
    run = make_run(application, request, startup.settings, framework, lambda event, data: None)
    weakref.finalize(run, shutil.rmtree, workspace, ignore_errors=True)
    return run
