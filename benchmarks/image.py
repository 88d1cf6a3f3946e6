"""Measures what the image of a project promises about bytes and time, each as a ratio to what it is compared with.

    uv run benchmarks/image.py              all three; it takes some minutes and needs a package index
    uv run benchmarks/image.py size start   some of them

| name    | measured                                   | compared with                              | at most |
| ------- | ------------------------------------------ | ------------------------------------------ | ------- |
| size    | the image of a project of CrewAI           | its base with `crewai` installed, compiled | 0.50    |
|         | the same of each other framework           | the same                                   |         |
| start   | `docker run` to a worker that is ready     | to `import crewai` done, in the same image | 1.20    |
| rebuild | a build after a change of the team's code  | the first build, with all its downloads    | 0.05    |

The other frameworks are smaller than the libraries of the service beside them (gateway, queue, store, memory), so there
is no bound. Both sides of `start` are measured in turns, in containers closed like those of the compose file, with its
Postgres and its broker. What it needs is named if it is missing (tests/deployment/engine.py). Exit code 1: a ratio is
above its bound.
"""

import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, cached_property
from pathlib import Path

import copier
from project import REPOSITORY, publish, sh
from report import Measured, report
from serving.memory import IMPORTS

sys.path.append(str(REPOSITORY / "tests"))
from deployment.compose import MODELS, Deployment
from deployment.engine import BUILD_SECONDS, Engine, engine, images_of, make_base, make_server, make_uv, reason_against

SIZE_BOUNDS = {"crewai": 0.5}
STARTS = 9
REBUILDS = 5
READY = " is ready for "
READY_SECONDS = 120
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
MEGABYTE = 1_000_000
# The first stage keeps uv itself out of what is counted.
PLAIN = """
ARG PYTHON_IMAGE
ARG UV_IMAGE
FROM ${UV_IMAGE} AS uv
FROM ${PYTHON_IMAGE} AS installed
COPY --from=uv /uv /usr/local/bin/uv
ARG PACKAGES
ARG UV_EXCLUDE_NEWER
RUN uv pip install --no-cache --compile-bytecode --system --prefix /installed $PACKAGES
FROM ${PYTHON_IMAGE}
COPY --from=installed /installed /usr/local
"""


class Images:
    """The measurements; each method named as on the command line. Works below `place`, which the caller removes."""

    def __init__(self, found: Engine, place: Path) -> None:
        self._engine = found
        self._place = place
        self._project = cache(self._rendered)
        self._first_build = cache(self._built)

    def size(self) -> Iterator[Measured]:
        """All layers, as the engine counts them."""
        for framework in IMPORTS:
            self._first_build(framework)
            ours, theirs = self._megabytes(framework), self._megabytes(self._plain(framework))
            yield Measured(f"size with {framework}", ours, theirs, "MB", SIZE_BOUNDS.get(framework, math.inf))

    def start(self) -> Iterator[Measured]:
        """To a line that each side prints: where no network is, bare CrewAI waits seconds for its telemetry at exit."""
        self._first_build("crewai")
        with self._servers() as options:
            worker = (*options, "crewai", "worker")
            alone = (*options, "--entrypoint=python", "crewai", "-c", f"import crewai; print('{READY}')")
            pairs = [(self._seconds_to_ready(*worker), self._seconds_to_ready(*alone)) for _ in range(1 + STARTS)]
        # The first pair filled the page cache.
        ours, theirs = map(statistics.median, zip(*pairs[1:], strict=True))
        yield Measured("start of a worker", ours, theirs, "s", 1.2)

    def rebuild(self) -> Iterator[Measured]:
        """Each build has another change."""
        first = self._first_build("crewai")
        models = self._project("crewai") / "src/my_crew/models.py"
        seconds = []
        for number in range(REBUILDS):
            with models.open("a") as file:
                file.write(f"\nCHANGED = {number}\n")
            seconds.append(self._build("crewai", "rebuilt"))
        yield Measured("rebuild after a change", statistics.median(seconds), first, "s", 0.05)

    @cached_property
    def _template(self) -> Path:
        return publish(self._place / "template")

    def _rendered(self, framework: str) -> Path:
        """A project for the Python of this machine, of which the base image is made; locked."""
        project = self._place / framework / "my-crew"
        answers = {"framework": framework, "python_version": PYTHON}
        copier.run_copy(str(self._template), project, data=answers, vcs_ref="HEAD", defaults=True, quiet=True)
        sh(project, "uv", "lock", "--quiet")
        return project

    @cached_property
    def _named(self) -> dict[str, str]:
        """The images that the project names, by the last part of their names."""
        return images_of(self._project("crewai"))

    @cached_property
    def _base(self) -> str:
        """The stand-in for Python's image; uv's is there too."""
        make_uv(self._engine, self._named["uv"], self._place)
        make_base(self._engine, self._named["python"], self._place)
        return self._named["python"]

    def _built(self, framework: str) -> float:
        """The seconds of the first build, which is tagged by its framework."""
        return self._build(framework, framework, "--no-cache")

    def _build(self, framework: str, tag: str, *options: str) -> float:
        project, base = self._project(framework), self._base
        arguments = ("--tag", tag, "--build-arg", f"PYTHON_IMAGE={base}", *options, str(project))
        start = time.perf_counter()
        self._engine.docker("build", *arguments, seconds=BUILD_SECONDS)
        return time.perf_counter() - start

    def _plain(self, framework: str) -> str:
        """The tag of the base with the packages of a framework, by the project's own versions and cooldown."""
        pyproject = tomllib.loads((self._project(framework) / "pyproject.toml").read_text("utf-8"))
        platform = pyproject["dependency-groups"]["platform"]
        packages = [each for each in platform if each.startswith(("crewai", "autogen", "agent-framework"))]
        arguments = {
            "PYTHON_IMAGE": self._base,
            "UV_IMAGE": self._named["uv"],
            "PACKAGES": " ".join(packages),
            "UV_EXCLUDE_NEWER": pyproject["tool"]["uv"]["exclude-newer"],
        }
        given = [part for name, value in arguments.items() for part in ("--build-arg", f"{name}={value}")]
        tag = f"plain-{framework}"
        self._engine.docker("build", "--tag", tag, *given, "-", stdin=PLAIN.encode(), seconds=BUILD_SECONDS)
        return tag

    def _megabytes(self, tag: str) -> float:
        return float(json.loads(self._engine.docker("inspect", tag))[0]["Size"]) / MEGABYTE

    @contextmanager
    def _servers(self) -> Iterator[tuple[str, ...]]:
        """Postgres and the broker of the compose file, and the options of `docker run` for what works on them."""
        project = self._project("crewai")
        for name, image in (("postgres", "pgvector"), ("valkey", "valkey")):
            make_server(self._engine, name, self._named[image], self._base, self._place)
        sh(project, sys.executable, "-m", "crewyard_runtime", "secrets", "init", OPENAI_API_KEY="offline")
        self._engine.docker("tag", "crewai", project.name)
        deployment = Deployment(self._engine, project)
        try:
            deployment.compose("run", "--rm", "-T", "migrate")
            deployment.up("broker")
            yield (
                *("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--pids-limit=512"),
                *("--memory=1g", "--tmpfs=/tmp:size=1g,mode=1777", f"--network={project.name}_servers"),
                *(f"--volume={project}/secrets/mounted:/run/secrets:ro", "--env=SECRETS=files"),
                f"--env=OPENAI_BASE_URL={MODELS}",
            )
        finally:
            deployment.compose("down", "--volumes", check=False)

    def _seconds_to_ready(self, *arguments: str) -> float:
        """From before `docker run` to the line that says ready; the container is gone when this returns."""
        command = ("docker", "--host", self._engine.url, "run", "--rm", "--name=started", *arguments)
        said = []
        start = time.perf_counter()
        with subprocess.Popen(
            ("timeout", str(READY_SECONDS), *command), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if READY in line:
                    taken = time.perf_counter() - start
                    self._engine.docker("kill", "started", check=False)
                    process.communicate()
                    return taken
                said.append(line)
        msg = f"{' '.join(command)} did not come to{READY}\n{''.join(said)}"
        raise RuntimeError(msg)


def main() -> int:
    """Measure what is asked for and print it."""
    if reason := reason_against():
        sys.exit(reason)
    with tempfile.TemporaryDirectory() as place, engine() as found:
        images = Images(found, Path(place))
        return report(
            "Measures what the image of a project promises about bytes and time.",
            {"size": images.size, "start": images.start, "rebuild": images.rebuild},
        )


if __name__ == "__main__":
    sys.exit(main())
