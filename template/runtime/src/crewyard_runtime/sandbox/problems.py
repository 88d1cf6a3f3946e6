"""What is wrong with the sandbox, for whoever starts a service; each problem is a variable, a sentence, an example."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from crewyard_runtime.sandbox.client import DockerClient, reason
from crewyard_runtime.sandbox.execution import SandboxDown
from crewyard_runtime.settings import RuntimeSettings

Found = tuple[str, str, str]
HOST_SOCKETS = ("/run/docker.sock", "/var/run/docker.sock")
MOUNTS = Path("/proc/self/mountinfo")
CERTIFICATES = ("ca.pem", "cert.pem", "key.pem")
LIMITED = ("memory", "processes", "processor time")
EXAMPLE = "DOCKER_HOST=tcp://sandbox:2376"
OWN = "the sandbox needs a daemon of its own, because whoever may call a daemon rules over all that it runs"


def setting_problems(settings: RuntimeSettings, production: bool) -> Iterator[Found]:
    """What the settings alone tell."""
    if settings.code_execution == "local" and production:
        yield (
            "CODE_EXECUTION",
            "is local, which runs code of a model next to your keys; use docker",
            "CODE_EXECUTION=docker",
        )
    if settings.code_execution != "docker":
        return
    if shutil.which("docker") is None:
        yield "CODE_EXECUTION", "is docker, and there is no command `docker` on the PATH: install Docker's client", ""
    yield from _host_problems(settings.docker_host)
    if (place := settings.docker_cert_path) is not None:
        missing = [name for name in CERTIFICATES if not (place / name).is_file()]
        if missing:
            yield "DOCKER_CERT_PATH", f"{place} has no {' and no '.join(missing)}", "DOCKER_CERT_PATH=/certs/client"


def _host_problems(host: str | None) -> Iterator[Found]:
    if host is None:
        description = RuntimeSettings.model_fields["docker_host"].description
        yield "DOCKER_HOST", f"is not set ({description})", EXAMPLE
    elif not re.match(r"tcp://[^/]|unix:///", host):
        yield "DOCKER_HOST", f"is {host!r}, and must begin with tcp:// and a host, or with unix:///", EXAMPLE
    elif host.startswith("unix:") and _is_hosts(Path(host.removeprefix("unix://"))):
        yield "DOCKER_HOST", f"is the socket of the host's own daemon; {OWN}", EXAMPLE


def _is_hosts(path: Path) -> bool:
    """Whether it is where the host's daemon listens, or a single socket that was mounted from outside.

    A daemon of one's own shares a directory with its socket in it, not the socket, which is new at each of its starts.
    """
    found = path.resolve()
    mounted = [line.split()[4] for line in MOUNTS.read_text().splitlines()] if MOUNTS.exists() else []
    return str(path) in HOST_SOCKETS or str(found) in HOST_SOCKETS or str(found) in mounted


def daemon_problems(settings: RuntimeSettings) -> Iterator[Found]:
    """What the daemon tells, where there is one: raises SandboxDown if it does not answer."""
    if settings.code_execution != "docker":
        return
    client = DockerClient(settings, settings.writable_dir)
    code, _, told = client.call("version", "--format", "{{.Server.Version}}")
    if code != 0:
        raise SandboxDown(f"{client.daemon} does not answer: {reason(told)}")
    code, limits, _ = client.call("info", "--format", "{{.MemoryLimit}} {{.PidsLimit}} {{.CPUCfsQuota}}")
    if unlimited := [what for what, able in zip(LIMITED, limits.split(), strict=False) if able != "true"]:
        yield (
            "DOCKER_HOST",
            f"the daemon of the sandbox cannot limit {' and '.join(unlimited)}: it needs cgroups that it may write to, "
            "which for a rootless daemon are those of version 2, delegated to its user",
            "docker info",
        )
    code, _, _ = client.call("image", "inspect", "--format", "{{.Id}}", settings.code_image)
    if code != 0:
        yield (
            "CODE_IMAGE",
            f"the daemon of the sandbox has no image {settings.code_image}, and code pulls none: pull it there",
            f"docker --host {settings.docker_host} pull {settings.code_image}",
        )
    if (container := _own_container()) is not None and client.call("container", "inspect", container)[0] == 0:
        yield "DOCKER_HOST", f"is the daemon that runs this very container; {OWN}", EXAMPLE


def _own_container() -> str | None:
    """The id of the container that this process is in, if it is one of Docker's: its files are mounted from there."""
    found = re.search(r"/containers/([0-9a-f]{64})/", MOUNTS.read_text()) if MOUNTS.exists() else None
    return found[1] if found else None
