"""How many runs a second the gateway takes in, against a bare handler that does one insert and sends one message."""

import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from crewyard_runtime.embedded import free_port
from report import Measured

from serving.client import Client
from serving.ground import FAST, Ground

ROUNDS = 6
SECONDS = 3.0
CLIENTS = 8
BARE = "serving.bare_gateway:create_app"
TICKET = {"text": "Since yesterday my notes do not sync between two devices, although both are signed in. " * 4}


def measure(ground: Ground) -> Iterator[Measured]:
    """The same clients in turns, the first turn not counted. No worker takes a run, as hardly any do in such a flood:
    then the gateway, which wakes one for each run at first, sees that enough are woken.
    """
    with ground.service(variables=FAST) as service:
        service.start_api()
        port = free_port()
        command = ("-m", "uvicorn", "--factory", BARE, "--port", str(port), "--no-access-log")
        servers = {"DATABASE_URL": ground.database(), "BROKER_URL": ground.broker("redis").url}
        with ground.program("running on", *command, **servers):
            urls, key = (service.api_url, f"http://127.0.0.1:{port}"), service.key()
            rates = [[_rate(url, key) for url in urls] for _ in range(1 + ROUNDS)][1:]
    ours, theirs = (statistics.median(side) for side in zip(*rates, strict=True))
    yield Measured("requests taken in", ours, theirs, "1/s", 0.6, at_least=True)


def _rate(url: str, key: str) -> float:
    """Requests a second, of clients that keep their connections."""
    counts = [0] * CLIENTS
    began = time.monotonic()

    def ask(number: int) -> None:
        client = Client(url, key)
        while time.monotonic() < began + SECONDS:
            client.submit(TICKET)
            counts[number] += 1

    with ThreadPoolExecutor(CLIENTS) as pool:
        for asked in [pool.submit(ask, number) for number in range(CLIENTS)]:
            asked.result()
    return sum(counts) / (time.monotonic() - began)
