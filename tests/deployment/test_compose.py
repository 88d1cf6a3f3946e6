"""The Compose file, brought up: hardened, complete, and losing no run whatever happens to its containers."""

import json
import os
import signal
import time
import urllib.error
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from deployment.compose import Deployment, until
from deployment.conftest import PLANTED
from psycopg import sql

SERVERS = ("postgres", "broker")
SECONDS_A_CALL = 1.5


def _of(deployment: Deployment) -> dict[str, dict[str, Any]]:
    """What the engine knows of all containers, by their service and number."""
    found = [deployment.inspect(each) for each in deployment.containers()]
    return {each["Name"]: each for each in found}


def test_it_brings_up_all_that_a_service_needs(deployment: Deployment) -> None:
    found = _of(deployment).values()
    up = [each["Config"]["Labels"]["com.docker.compose.service"] for each in found if each["State"]["Running"]]
    assert sorted(up) == ["broker", "gateway", "models", "postgres", "worker", "worker"]


def test_every_container_is_hardened(either: Deployment) -> None:
    for name, found in _of(either).items():
        host = found["HostConfig"]
        assert host["ReadonlyRootfs"], name
        assert host["CapDrop"] == ["ALL"], name
        assert not host["CapAdd"], name
        assert not host["Privileged"], name
        assert host["SecurityOpt"] == ["no-new-privileges:true"], name
        assert host["Memory"] > 0, name
        assert host["PidsLimit"] > 0, name
        assert found["Config"]["User"].split(":")[0] not in ("", "0", "root"), name


def test_only_the_gateway_has_a_port_and_only_for_this_machine(deployment: Deployment) -> None:
    bound = {name: found["HostConfig"]["PortBindings"] for name, found in _of(deployment).items()}
    assert [name for name, ports in bound.items() if ports] == ["/my-crew_gateway_1"]
    assert [each["HostIp"] for ports in bound.values() for port in ports.values() for each in port] == ["127.0.0.1"]


def test_the_servers_reach_nothing_outside(deployment: Deployment) -> None:
    for service in SERVERS:
        networks = deployment.inspect(deployment.containers(service)[0])["NetworkSettings"]["Networks"]
        assert list(networks) == ["my-crew_servers"]
    assert json.loads(deployment.engine.docker("network", "inspect", "my-crew_servers"))[0]["Internal"]


def test_a_run_goes_through_gateway_queue_and_worker(either: Deployment) -> None:
    [run] = either.submit(1)
    assert either.wait_for([run]) == ["succeeded"]
    assert either.ask("GET", f"/runs/{run}")["output"]


def test_one_run_in_the_foreground_prints_its_result(deployment: Deployment) -> None:
    ticket = (deployment.place / "src/my_crew/tickets.jsonl").read_text().splitlines()[0]
    said = deployment.compose("run", "--rm", "-T", "crew", ticket)
    line = next(line for line in said.splitlines() if line.startswith("{"))
    assert json.loads(line)["status"] == "succeeded"


def test_more_workers_do_more_at_once(deployment: Deployment) -> None:
    deployment.up("--scale", "worker=4")
    try:
        assert len(deployment.containers("worker")) == 4
        # Long enough for the slowest machine to see four at work, not the last of them when the first is at its end.
        deployment.models(kind="slow", seconds=4 * SECONDS_A_CALL, times=None)
        ids = deployment.submit(8)
        until("four runs at once", lambda: deployment.statuses(ids).count("running") == 4)
        deployment.models()
        assert deployment.wait_for(ids) == ["succeeded"] * 8
    finally:
        deployment.compose("up", "--detach")


def _six_runs(deployment: Deployment) -> list[str]:
    """Runs that are in the middle of their work, and some that wait."""
    deployment.models(kind="slow", seconds=SECONDS_A_CALL, times=None)
    ids = deployment.submit(6)
    until("two runs at once", lambda: deployment.statuses(ids).count("running") >= 2)
    deployment.models()
    return ids


@pytest.mark.parametrize("service", ["gateway", "worker", "postgres", "broker"])
def test_no_run_is_lost_with_a_container_that_is_killed(either: Deployment, service: str) -> None:
    runs = _six_runs(either)
    container = either.containers(service)[0]
    # As the kernel does when memory is short: the engine starts it again.
    os.kill(either.inspect(container)["State"]["Pid"], signal.SIGKILL)
    until("its restart", lambda: _runs(either, container))
    until("that the gateway answers", lambda: _is_ready(either))
    assert either.wait_for(runs) == ["succeeded"] * 6


@pytest.mark.parametrize("service", ["gateway", "worker", "postgres", "broker"])
def test_no_run_is_lost_with_a_container_that_is_stopped(deployment: Deployment, service: str) -> None:
    runs = _six_runs(deployment)
    container = deployment.containers(service)[0]
    deployment.engine.docker("stop", "--time=30", container)
    deployment.engine.docker("start", container)
    until("that the gateway answers", lambda: _is_ready(deployment))
    assert deployment.wait_for(runs) == ["succeeded"] * 6


def _runs(deployment: Deployment, container: str) -> bool:
    found = deployment.inspect(container)
    return bool(found["State"]["Running"] and found["RestartCount"])


def _is_ready(deployment: Deployment) -> bool:
    try:
        return bool(deployment.ask("GET", "/readyz")["status"] == "ok")
    except (OSError, urllib.error.URLError):
        return False


def test_a_worker_that_is_asked_to_stop_hands_its_run_back(deployment: Deployment) -> None:
    runs = _six_runs(deployment)
    began = time.monotonic()
    for container in deployment.containers("worker"):
        deployment.engine.docker("stop", "--time=30", container)
        assert deployment.inspect(container)["State"]["ExitCode"] == 0
    assert time.monotonic() - began < 30
    assert "running" not in deployment.statuses(runs)
    deployment.compose("up", "--detach")
    assert deployment.wait_for(runs) == ["succeeded"] * 6


def test_up_a_second_time_changes_nothing(deployment: Deployment) -> None:
    before = {name: found["Id"] for name, found in _of(deployment).items() if "migrate" not in name}
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: deployment.compose("up", "--detach", check=False), range(2)))
    deployment.up()
    assert {name: found["Id"] for name, found in _of(deployment).items() if "migrate" not in name} == before


def test_what_was_taken_in_outlives_all_containers(deployment: Deployment) -> None:
    ids = deployment.submit(3)
    deployment.compose("down")
    deployment.up()
    assert deployment.wait_for(ids) == ["succeeded"] * 3


def test_nobody_leaves_dead_processes_behind(deployment: Deployment) -> None:
    worker = deployment.containers("worker")[0]
    for _ in range(3):  # each is left to the first process, which has not started it
        deployment.engine.docker("exec", worker, "sh", "-c", "(sleep 0.05 &)")
    states = "cat /proc/[0-9]*/stat 2>/dev/null | grep -c ') Z ' || true"
    until("no zombie", lambda: deployment.engine.docker("exec", worker, "sh", "-c", states).strip() == "0", 10)


def test_no_key_is_seen_where_it_does_not_belong(either: Deployment) -> None:
    planted = _planted(either)
    either.models(kind="error", status=401, message="Incorrect API key provided", times=None)
    failing = either.submit(1)
    either.wait_for(failing)
    either.models()
    seen = {
        "logs": either.compose("logs"),
        "inspect": json.dumps(_of(either)) + either.engine.docker("inspect", either.name),
        "the gateway": json.dumps([either.ask("GET", f"/runs/{each}") for each in failing]),
        "the database": _dump(either),
    }
    assert "Incorrect API key" in seen["the gateway"], "the run that failed tells nothing"
    assert not [(place, name) for place, text in seen.items() for name, value in planted.items() if value in text]


def _planted(deployment: Deployment) -> dict[str, str]:
    """Every secret that the containers are given: the planted ones, and the passwords that were made."""
    files = [*(deployment.place / "secrets/mounted").iterdir(), deployment.place / "secrets/POSTGRES_PASSWORD"]
    found = {file.name: file.read_text().strip() for file in files}
    assert PLANTED["OPENAI_API_KEY"] == found["OPENAI_API_KEY"]
    passwords = {f"password of {name}": url.split(":")[2].split("@")[0] for name, url in found.items() if "@" in url}
    return {name: value for name, value in (found | passwords).items() if len(value) > 12}


def _dump(deployment: Deployment) -> str:
    """All that the database holds, as text."""
    url = (deployment.place / "secrets/mounted/DATABASE_URL").read_text().strip()
    with psycopg.connect(url.replace("@postgres/", f"@{deployment.address('postgres')}/")) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        texts = [
            str(row)
            for [table] in tables
            for row in connection.execute(sql.SQL("SELECT t::text FROM {} t").format(sql.Identifier(table)))
        ]
    assert any("Incorrect API key" in text for text in texts)
    return "\n".join(texts)


def test_a_secret_that_the_image_cannot_read_is_named(deployment: Deployment) -> None:
    file = deployment.place / "secrets/mounted/OPENAI_API_KEY"
    file.chmod(0o600)
    try:
        said = deployment.compose(
            "run", "--rm", "-T", "--no-deps", "--entrypoint", "my-crew", "crew", "check", check=False
        )
    finally:
        file.chmod(0o644)
    assert "OPENAI_API_KEY" in said
    assert "cannot be read" in said
    assert "Traceback" not in said


def test_without_its_secrets_it_does_not_start(deployment: Deployment) -> None:
    mounted = deployment.place / "secrets/mounted"
    mounted.rename(mounted.with_name("away"))
    try:
        said = deployment.compose("run", "--rm", "-T", "crew", "x", check=False)
        assert not mounted.exists(), "the engine made an empty directory in its place"
    finally:
        if mounted.exists():
            mounted.rmdir()
        mounted.with_name("away").rename(mounted)
    assert "secrets/mounted" in said


def test_two_that_are_started_at_once_have_one_database(deployment: Deployment) -> None:
    deployment.begin_anew()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(deployment.compose, "up", "--detach", check=False)
        until("the first container", deployment.containers)
        second = pool.submit(deployment.compose, "up", "--detach", check=False)
        for each in (first, second):
            each.result()
    deployment.up()
    assert len(deployment.containers("postgres")) == len(deployment.containers("broker")) == 1
    assert deployment.wait_for(deployment.submit(1)) == ["succeeded"]
