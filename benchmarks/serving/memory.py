"""How much memory a worker holds that has CrewAI loaded, against a process that did no more than import CrewAI."""

from collections.abc import Iterator

from crewyard_runtime.execution.runner import clean_environment
from crewyard_runtime.testing.model_server import ModelServer
from crewyard_runtime.testing.service import Service
from psutil import Process
from report import Measured

from serving.ground import CREW, TICKET, Ground, wake_ups_of

FEW, MANY = 5, 100  # runs
MEGABYTE = 1_000_000
SAID = "imported"
IMPORT = f"import sys, crewai; print('{SAID}'); sys.stdin.read()"


def measure(ground: Ground) -> Iterator[Measured]:
    """The proportional set sizes (PSS) of all processes that a worker consists of, which are root's to see. Linux."""
    with ground.program(SAID, "-c", IMPORT, **clean_environment({}, ground.directory())) as process:
        alone = _megabytes(process.pid)
    with ModelServer() as model, ground.crew_service(model.url) as service:
        worker = service.start_worker().pid
        yield Measured("memory of an idle worker", _megabytes(worker), alone, "MB", 1.6)
        _run(service, FEW)
        few = _megabytes(worker)
        _run(service, MANY - FEW)
        yield Measured(f"memory after {MANY} runs", _megabytes(worker), few, "MB", 1.05)


def _run(service: Service, number: int) -> None:
    ids = service.submit(*[TICKET] * number, application=CREW)
    wake_ups_of(service).send()
    ended = service.until_ended(ids, 10 * number)
    if failed := [run.error for run in ended.values() if run.status != "succeeded"]:
        msg = f"{len(failed)} of {number} runs did not succeed, so their memory says nothing: {failed[0]}"
        raise RuntimeError(msg)


def _megabytes(pid: int) -> float:
    leader = Process(pid)
    family = [leader, *leader.children(recursive=True)]
    return sum(process.memory_full_info().pss for process in family) / MEGABYTE
