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

from crewyard_runtime.application import find_applications
from crewyard_runtime.context import RunContext
from crewyard_runtime.execution.messages import RunRequest
from crewyard_runtime.execution.work import make_run
from crewyard_runtime.frameworks import load_framework
from crewyard_runtime.settings import RuntimeSettings, plain


def make_context(input: BaseModel) -> RunContext[Any, Any]:
    """A context for `input`; the application is the one with this input model. Raises ValidationError, LookupError."""
    application = next((app for app in find_applications().values() if isinstance(input, app.input)), None)
    if application is None:
        msg = f"No application takes a {type(input).__name__} as its input."
        raise LookupError(msg)
    settings = RuntimeSettings.load()
    framework = load_framework(settings.framework)
    workspace = tempfile.mkdtemp(prefix="crewyard-")
    request = RunRequest(
        run_id=uuid.uuid4().hex,
        user_id=settings.user_id,
        input=input.model_dump(mode="json"),
        settings=plain(application.settings.load()),
        runtime={},
        workspace=workspace,
        deadline=time.time() + settings.limits.deadline_seconds,
    )
    framework.install_hooks()
    run = make_run(application, request, settings, framework, lambda event, data: None)
    weakref.finalize(run, shutil.rmtree, workspace, ignore_errors=True)
    return run
