"""A project that Compose has brought up: its containers, and what a user of its gateway sees."""

import json
import re
import time
import urllib.request
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from crewyard_runtime.testing.service import until as until_found
from deployment.engine import Engine

ENDED = {"succeeded", "failed", "timed_out", "cancelled", "dead"}
MODELS = "http://models:9099/v1"
Found = TypeVar("Found")


def until(what: str, find: Callable[[], Found | None], seconds: float = 90) -> Found:
    """As the service's own tests wait, with the patience that containers need.

    It looks three times a second: each look starts programs, and what is waited for needs the processor too.
    """

    def look() -> Found | None:
        time.sleep(0.3)
        return find()

    return until_found(what, look, seconds)


class Deployment:
    """`docker-compose` in a project's directory, on the model server in place of a provider."""

    def __init__(self, found: Engine, place: Path) -> None:
        self.engine = found
        self.place = place
        self.name = place.name
        self._key = ""

    def compose(self, *arguments: str, check: bool = True, seconds: float = 300) -> str:
        """What `docker-compose` prints."""
        command = ("docker-compose", "--ansi", "never", "--profile", "offline", *arguments)
        return self.engine.call(
            *command, cwd=self.place, check=check, seconds=seconds, OPENAI_BASE_URL=MODELS, PORT="0"
        ).stdout

    def up(self, *arguments: str) -> None:
        """Bring it up, and wait until every container is healthy that says so."""
        self.compose("up", "--detach", *arguments)
        until("that all containers are healthy", self._all_healthy)

    def begin_anew(self) -> None:
        """End it, with all data."""
        self.compose("down", "--volumes")
        self._key = ""

    def containers(self, *services: str) -> list[str]:
        """The ids of the containers of services, of all by default; also of those that have ended.

        From the engine: Compose's own `ps` takes a second, and some of what waits here asks for it again and again.
        """
        own = (f"project={self.name}", "oneoff=False")
        found = [self._labelled(*own, f"service={each}") for each in services] or [self._labelled(*own)]
        return [each for ids in found for each in ids]

    def _labelled(self, *labels: str) -> list[str]:
        filters = [f"--filter=label=com.docker.compose.{each}" for each in labels]
        return self.engine.docker("ps", "--all", "--quiet", "--no-trunc", *filters).split()

    def inspect(self, container: str) -> dict[str, Any]:
        """What the engine knows of a container."""
        found: dict[str, Any] = json.loads(self.engine.docker("inspect", container))[0]
        return found

    def address(self, service: str) -> str:
        """An address of a service's container that this machine can reach."""
        networks = self.inspect(self.containers(service)[0])["NetworkSettings"]["Networks"]
        return str(next(network["IPAddress"] for network in networks.values() if network["IPAddress"]))

    def models(self, **fault: Any) -> None:
        """Tell the model server what happens to the next calls; without anything, to forget that."""
        url = f"http://{self.address('models')}:9099/control/faults"
        data = json.dumps(fault).encode() if fault else None
        urllib.request.urlopen(urllib.request.Request(url, data, method="POST" if fault else "DELETE"), timeout=10)

    def ask(self, method: str, path: str, data: Any = None) -> Any:
        """The gateway's answer, as JSON."""
        if not self._key:
            said = self.compose("exec", "-T", "gateway", self.name, "keys", "create", "tester")
            self._key = re.findall(r"cy_[0-9a-f]{12}_[\w-]{43}", said)[0]
        return self._asked(self.address("gateway"), method, path, data)

    def submit(self, number: int) -> list[str]:
        """The ids of so many runs, taken in."""
        ticket = json.loads(
            (self.place / "src" / self.name.replace("-", "_") / "tickets.jsonl").read_text().splitlines()[0]
        )
        return [self.ask("POST", "/runs/support", ticket)["id"] for _ in range(number)]

    def statuses(self, ids: Iterable[str]) -> list[str]:
        """How far runs are, all at about one moment."""
        gateway = self.address("gateway")
        return [self._asked(gateway, "GET", f"/runs/{each}", None)["status"] for each in ids]

    def wait_for(self, ids: list[str], seconds: float = 120) -> list[str]:
        """The statuses of runs that have all ended."""
        return until("the end of all runs", lambda: self._ended(ids), seconds)

    def _ended(self, ids: list[str]) -> list[str] | None:
        found = self.statuses(ids)
        return found if set(found) <= ENDED else None

    def _asked(self, gateway: str, method: str, path: str, data: Any) -> Any:
        body = None if data is None else json.dumps(data).encode()
        headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"http://{gateway}:8000{path}", body, headers, method=method)
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.loads(response.read())

    def _all_healthy(self) -> bool:
        states = [self.inspect(each)["State"] for each in self.containers()]
        return all(state["Health"]["Status"] == "healthy" for state in states if "Health" in state)
