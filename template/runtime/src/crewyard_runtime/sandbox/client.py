"""The command `docker`, for the daemon of the sandbox and no other."""

import os
import subprocess
from pathlib import Path
from typing import IO

from crewyard_runtime.sandbox.execution import SandboxDown
from crewyard_runtime.settings import RuntimeSettings

SECONDS = 30  # that the daemon has for an answer


class DockerClient:
    """Calls `docker` with what it needs to find the daemon, and no other variable.

    home: its home directory, in which it looks for a configuration.
    """

    def __init__(self, settings: RuntimeSettings, home: Path) -> None:
        self.image = settings.code_image
        self._host = settings.docker_host
        self._environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(home)}
        if self._host is not None:
            self._environment["DOCKER_HOST"] = self._host
        if settings.docker_cert_path is not None and (self._host or "").startswith("tcp:"):
            self._environment["DOCKER_CERT_PATH"] = str(settings.docker_cert_path)
            self._environment["DOCKER_TLS_VERIFY"] = "1"

    def start(self, *arguments: str, stdin: int | IO[bytes], stderr: int | IO[bytes]) -> "subprocess.Popen[bytes]":
        """Start `docker` with these arguments; its output is a pipe. Raises SandboxDown if there is no such command."""
        if self._host is None:
            # The command would take the host's own daemon.
            raise SandboxDown("The sandbox has no daemon: DOCKER_HOST is not set.")
        try:
            return subprocess.Popen(
                ["docker", *arguments], stdin=stdin, stdout=subprocess.PIPE, stderr=stderr, env=self._environment
            )
        except OSError as error:
            raise SandboxDown(f"The command docker cannot be started: {error.strerror}.") from error

    def call(self, *arguments: str, seconds: float = SECONDS) -> tuple[int, str, str]:
        """The exit code of `docker`, what it printed and what it complained of. Raises SandboxDown if it hangs."""
        with self.start(*arguments, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
            try:
                printed, said = process.communicate(timeout=seconds)
            except subprocess.TimeoutExpired as error:
                process.kill()
                raise self.silent(seconds) from error
        return process.returncode, printed.decode(errors="replace").strip(), said.decode(errors="replace")

    @property
    def daemon(self) -> str:
        """What to call the daemon at the beginning of a sentence."""
        return f"The Docker daemon of the sandbox ({self._host})"

    def silent(self, seconds: float) -> SandboxDown:
        """The error that says that the daemon hangs."""
        return SandboxDown(f"{self.daemon} gave no answer within {seconds:g} seconds.")

    def down(self, why: str) -> SandboxDown:
        """The error that says that the daemon does not do what it is asked for."""
        return SandboxDown(f"{self.daemon} executes nothing now: {why}")


def reason(complaint: str) -> str:
    """The line of a complaint that says why, at most 500 characters of it: the last that does not point to a manual."""
    lines = [line.strip() for line in complaint.splitlines()]
    telling = [line for line in lines if line and not line.startswith(("See 'docker", "Run 'docker"))]
    return telling[-1][:500] if telling else "it gave no reason."
