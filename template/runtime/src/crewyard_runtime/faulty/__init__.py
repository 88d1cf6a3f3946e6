"""An application without a framework that does what its input asks for, so that a fault meets it at a known moment."""

import gc
import json
import logging
import os
import signal
import threading
import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import psutil
from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from crewyard_runtime.application import Application
from crewyard_runtime.context import RunContext
from crewyard_runtime.settings import ApplicationSettings

if TYPE_CHECKING:
    from fastapi import FastAPI


class Order(BaseModel):
    """What the run is to do. seconds: for how long its first attempt calls the model, every `tick` seconds.

    where: what remembers or recalls the text; a fork is a process that has a copy of the run's.
    """

    model_config = ConfigDict(extra="forbid")

    text: str = Field(default="", max_length=10_000)
    seconds: float = Field(default=0, ge=0, le=600)
    tick: float = Field(default=0.1, gt=0)
    then: Literal["succeed", "fail", "kill_itself", "kill_its_worker", "look_around", "talk", "remember", "recall"] = (
        "succeed"
    )
    where: Literal["here", "thread", "fork"] = "here"
    secrets: list[str] = []


class Result(BaseModel):
    """The order's text; where one of the secrets was found, or what was recalled; whose memory could be written."""

    text: str
    attempt: int
    found: list[str] = []
    writable: list[str] = []


class FaultySettings(ApplicationSettings):
    """The model server, by the name that every model client reads."""

    model_url: str | None = Field(
        default=None, validation_alias=AliasChoices("OPENAI_BASE_URL"), description="the model server"
    )


def build(run: RunContext[FaultySettings, Order]) -> Callable[[], Result]:
    """The run as a function."""
    return lambda: _work(run)


application = Application(
    name="faulty", input=Order, output=Result, settings=FaultySettings, build="crewyard_runtime.faulty:build"
)


def create_app() -> "FastAPI":
    """The gateway of this application, for uvicorn."""
    from crewyard_runtime.api.app import create_app as create

    app: FastAPI = create({application.name: application})
    return app


def _work(run: RunContext[FaultySettings, Order]) -> Result:
    order = run.input
    until = time.monotonic() + (order.seconds if run.attempt == 1 else 0)
    while time.monotonic() < until:
        _call_model(run)
        time.sleep(min(order.tick, max(until - time.monotonic(), 0)))
    if order.then == "fail":
        msg = "the order asked for it"
        raise RuntimeError(msg)
    if order.then == "kill_itself":
        os.kill(os.getpid(), signal.SIGKILL)
    if order.then == "kill_its_worker":
        fork_server = psutil.Process(os.getppid())
        os.kill(fork_server.ppid(), signal.SIGKILL)
        time.sleep(60)
    if order.then == "talk":
        _talk(run)
    found = _look_around(order.secrets) if order.then == "look_around" else []
    if order.then in ("remember", "recall"):
        found = ELSEWHERE[order.where](lambda: _use_memory(run))
    writable = _writable() if order.then == "look_around" else []
    return Result(text=order.text, attempt=run.attempt, found=found, writable=writable)


def _use_memory(run: RunContext[FaultySettings, Order]) -> list[str]:
    if run.input.then == "remember":
        return [run.memory.remember(run.input.text) or ""]
    everything = [*run.memory.recall(run.input.text, 100), *run.memory.all()]
    return [*map(str, everything), run.known.text()]


def _in_thread(call: Callable[[], list[str]]) -> list[str]:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(call).result()


def _in_fork(call: Callable[[], list[str]]) -> list[str]:
    read, write = os.pipe()
    if os.fork() == 0:
        os.write(write, json.dumps(call()).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        answer: list[str] = json.load(pipe)
    return answer


ELSEWHERE: dict[str, Callable[[Callable[[], list[str]]], list[str]]] = {
    "here": lambda call: call(),
    "thread": _in_thread,
    "fork": _in_fork,
}


def _talk(run: RunContext[FaultySettings, Order]) -> None:
    """By every way in which a tool may say something, also from a thread that knows of no run."""
    run.log.info("said by run.log")
    thread = threading.Thread(target=logging.getLogger("a.library").warning, args=("said by a library in a thread",))
    thread.start()
    thread.join()
    print("printed", flush=True)
    os.system("echo printed by a subprocess")
    run.emit("talked", number=float("nan"), text="\0")


def _call_model(run: RunContext[FaultySettings, Order]) -> None:
    if run.settings.model_url is None:
        return
    said = {"role": "user", "content": f"{run.id} {run.attempt} {os.getpid()}"}
    request = urllib.request.Request(
        f"{run.settings.model_url}/chat/completions",
        data=json.dumps({"model": "gpt-4o-mini", "messages": [said]}).encode(),
        headers={"content-type": "application/json", "authorization": "Bearer offline"},
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        response.read()


def _look_around(halves: list[str]) -> list[str]:
    """Where a secret is seen from a run: each is given backwards, so that the order itself does not carry it."""
    secrets = [half[::-1] for half in halves]
    places = {"its environment": json.dumps(dict(os.environ))}
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            places[str(path)] = path.read_text(errors="replace")
        except OSError:
            continue  # what cannot be read holds no secret for us
    texts = [text for text in _texts() if not any(text is secret for secret in secrets)]
    places["its objects"] = "\n".join(texts)
    return [place for place, text in places.items() if any(secret in text for secret in secrets)]


def _writable() -> list[str]:
    """The processes above this one whose memory it could change, and with it all later runs."""
    open_ones = []
    for process in psutil.Process().parents():
        with suppress(OSError):
            os.close(os.open(f"/proc/{process.pid}/mem", os.O_RDWR))
            open_ones.append(" ".join(process.cmdline())[:200])
    return open_ones


def _texts() -> list[str]:
    """Every text that an object of this process holds."""
    held: list[object] = []
    for thing in gc.get_objects():
        if isinstance(thing, dict):
            held += thing.values()
        elif isinstance(thing, list | tuple | set):
            held += thing
        elif not isinstance(thing, type):
            with suppress(Exception):  # some objects answer no question
                held += vars(thing).values()
    raw = [item.decode(errors="replace") for item in held if isinstance(item, bytes)]
    return raw + [item for item in held if isinstance(item, str)]
