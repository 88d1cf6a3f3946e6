"""How much memory a worker holds that has a framework loaded, against a process that did no more than import it."""

import math
import os
import sys
from collections.abc import Iterator

from crewyard_runtime.execution.runner import clean_environment
from crewyard_runtime.testing.model_server import ModelServer
from psutil import Process
from report import Measured

from serving.ground import CREW, TICKET, Ground, finish

FEW, MANY = 5, 100  # runs
MEGABYTE = 1_000_000
SAID = "imported"
IMPORTS = {
    "crewai": "import crewai",
    "autogen": "import autogen, openai",
    "agentchat": "import autogen_agentchat.teams, autogen_ext.models.openai",
    "agent-framework": "import openai; from agent_framework import Agent; from agent_framework.openai import *",
}
# The platform itself is 50 MB (PSS): beside CrewAI little, beside a framework of 60 MB much. So no bound there.
BOUNDS = {"crewai": 1.6}


def measure(ground: Ground, framework: str = "crewai") -> Iterator[Measured]:
    """The proportional set sizes (PSS) of all processes that a worker consists of."""
    if sys.platform != "linux" or os.geteuid() != 0:
        print("left out: nobody but root on Linux sees the memory of a worker", file=sys.stderr)
        return
    imports = f"import sys; {IMPORTS[framework]}; print('{SAID}'); sys.stdin.read()"
    with ground.program(SAID, "-c", imports, **clean_environment({}, ground.directory())) as process:
        alone = _megabytes(process.pid)
    with ModelServer() as model, ground.crew_service(model.url, framework=framework) as service:
        worker = service.start_worker().pid
        yield Measured("memory of an idle worker", _megabytes(worker), alone, "MB", BOUNDS.get(framework, math.inf))
        finish(service, *[TICKET] * FEW, application=CREW)
        few = _megabytes(worker)
        finish(service, *[TICKET] * (MANY - FEW), application=CREW)
        yield Measured(f"memory after {MANY} runs", _megabytes(worker), few, "MB", 1.05)


def _megabytes(pid: int) -> float:
    leader = Process(pid)
    family = [leader, *leader.children(recursive=True)]
    return sum(process.memory_full_info().pss for process in family) / MEGABYTE
