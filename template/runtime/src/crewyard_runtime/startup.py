"""The startup validation: everything that is missing or wrong, found at once, before a framework is imported."""

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.metadata import Distribution, PackageNotFoundError, distribution, entry_points
from importlib.util import find_spec
from typing import Any
from urllib.parse import SplitResult, urlsplit

from packaging.requirements import InvalidRequirement, Requirement
from pydantic import SecretStr, ValidationError
from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings

from crewyard_runtime import embedded
from crewyard_runtime.application import ENTRY_POINTS, Application, NoApplication, find_applications
from crewyard_runtime.frameworks import FRAMEWORKS
from crewyard_runtime.memory.backends import load_backend
from crewyard_runtime.porting import files_to_port
from crewyard_runtime.providers import PROVIDERS, split_model
from crewyard_runtime.sandbox.problems import daemon_problems, setting_problems
from crewyard_runtime.secret_sources import PLACES, Refused, SecretsNotRead, Source
from crewyard_runtime.settings import (
    MEMORY_VARIABLES,
    PLATFORM_FILE,
    ApplicationSettings,
    RuntimeSettings,
    SecretSettings,
    ServiceSettings,
    find_project,
)

POSTGRES_SCHEMES = ("postgresql", "postgres")
BROKER_SCHEMES = {"redis": ("redis", "rediss"), "rabbitmq": ("amqp", "amqps"), "sqs": ("sqs",)}
EXAMPLES = {"amqp": "amqp://user:password@localhost:5672//", "sqs": "sqs://"}
SAMPLE = "copier update --data porting=true"  # puts the sample of the framework beside it
NOT_SET = "is not set"
ENOUGH = 65_536  # bytes that must fit into the writable directory
EX_CONFIG = 78  # sysexits.h: something was found in an unconfigured or misconfigured state


@dataclass(frozen=True)
class Problem:
    """One thing to mend: the variable or file, what is wrong with it and what it is for, and an example."""

    name: str
    problem: str
    example: str = ""


@dataclass(frozen=True)
class Startup:
    """What was found: the settings and applications as far as they could be read, and every problem."""

    settings: RuntimeSettings | None
    service: ServiceSettings | None
    application_settings: dict[str, ApplicationSettings]
    applications: dict[str, Application]
    problems: list[Problem]


def examine(
    overrides: dict[str, Any] | None = None,
    applications: dict[str, Application] | None = None,
    servers: bool | None = None,
) -> Startup:
    """Read and validate all settings.

    overrides: wins over every source, for both kinds of settings (the demo's model server).
    applications: in place of the project's own.
    servers: whether a database and a broker must be named; by default where no embedded ones are installed.
    """
    problems = list(_unreadable_files())
    secrets = _secrets(problems)
    if problems:
        return Startup(None, None, {}, {}, problems)
    problems += _misspelt()
    problems += _unnamed_manager(servers)
    settings = _load(RuntimeSettings, problems, overrides or {})
    service = _load(ServiceSettings, problems, overrides or {})
    if applications is None:
        applications = _applications(problems)
    application_settings = {
        name: loaded
        for name, application in applications.items()
        if (loaded := _load(application.settings, problems, {})) is not None
    }
    if isinstance(settings, RuntimeSettings):
        problems += [*_model_problems(settings), *_directory_problems(settings), *_framework_problems(settings)]
        problems += [Problem(*found) for found in setting_problems(settings, production=not _may_embed())]
    if isinstance(service, ServiceSettings):
        needed = not _may_embed() if servers is None else servers
        problems += _service_problems(service, needed)
        if isinstance(settings, RuntimeSettings):
            problems += _memory_problems(settings, service, needed)
    problems += _missing_distributions()
    return Startup(
        settings if isinstance(settings, RuntimeSettings) else None,
        service if isinstance(service, ServiceSettings) else None,
        application_settings,
        applications,
        _told(problems, secrets),
    )


def examine_database(memory: bool = False) -> Startup:
    """Read and validate what the commands need that only look into the store: no model, application or broker.

    memory: whether it is looked for too, where it is kept what is known about users.
    """
    problems = list(_unreadable_files())
    secrets = _secrets(problems)
    if problems:
        return Startup(None, None, {}, {}, problems)
    problems += _unnamed_manager()
    settings, service = _load(RuntimeSettings, problems, {}), _load(ServiceSettings, problems, {})
    if isinstance(service, ServiceSettings):
        problems += _url_problems(ServiceSettings, "DATABASE_URL", service, POSTGRES_SCHEMES, not _may_embed())
        if memory and isinstance(settings, RuntimeSettings):
            problems += _memory_place_problems(settings, service, not _may_embed())
    return Startup(
        settings if isinstance(settings, RuntimeSettings) else None,
        service if isinstance(service, ServiceSettings) else None,
        {},
        {},
        _told(problems, secrets),
    )


def examine_memory(settings: RuntimeSettings) -> Iterator[Problem]:
    """Ask the place of the memory, if one is named: whether each user's is locked, and fits the embeddings.

    Raises what its client raises, if it cannot be asked.
    """
    if settings.memory != "none" and settings.memory_server():
        for problem in load_backend(settings).problems(settings):
            yield Problem(MEMORY_VARIABLES[settings.memory], problem)


def examine_sandbox(settings: RuntimeSettings) -> Iterator[Problem]:
    """Ask the daemon of the sandbox, if there is to be one. Raises SandboxDown if it does not answer."""
    for found in daemon_problems(settings):
        yield Problem(*found)


def _may_embed() -> bool:
    """Whether a server that is not named can be an embedded one, whose data are in the project."""
    return embedded.available() and find_project() is not None


def _unreadable_files() -> Iterator[Problem]:
    project = find_project()
    if project is None:
        return
    try:
        (project / ".env").read_text("utf-8")
    except FileNotFoundError:
        pass
    except UnicodeDecodeError:
        yield Problem(".env", "it is no UTF-8 text")
    except OSError as error:
        yield Problem(".env", f"it cannot be read: {error.strerror}")
    try:
        tomllib.loads((project / PLATFORM_FILE).read_text("utf-8"))
    except (ValueError, OSError) as error:
        yield Problem(PLATFORM_FILE, f"it is no TOML: {error}")


def _secrets(problems: list[Problem]) -> Source | None:
    """Where secrets are read, asked for the first time; without it nothing can be said of the other settings."""
    if problems:
        return None
    chosen = _load(SecretSettings, problems, {})
    if problems or not isinstance(chosen, SecretSettings):
        return None
    try:
        return chosen.source()
    except SecretsNotRead as error:
        problems.append(Problem(error.name, error.problem, error.example))
        return None


def _unnamed_manager(servers: bool | None = None) -> Iterator[Problem]:
    """A manager of secrets that is not named; where servers may be embedded ones, it is not asked then."""
    chosen = SecretSettings.load()
    if servers is not False and not _may_embed() and chosen.secrets != "environment" and chosen.place() is None:
        yield _not_set(SecretSettings, PLACES[chosen.secrets])


def _told(problems: list[Problem], secrets: Source | None) -> list[Problem]:
    """Each once: what is there and wrong is not missing too; of what is missing, where it was looked for."""
    wrong = {each.name for each in problems if not each.problem.startswith(NOT_SET)}
    where = f"{NOT_SET}, nor in {secrets.place}" if secrets and secrets.place else NOT_SET
    not_there = {name.upper() for name in SecretSettings.model_fields}
    told = []
    for each in problems:
        if not each.problem.startswith(NOT_SET) or each.name in not_there:
            told.append(each)
        elif each.name not in wrong:
            told.append(replace(each, problem=where + each.problem.removeprefix(NOT_SET)))
    return list(dict.fromkeys(told))


def _misspelt() -> Iterator[Problem]:
    """Names in `platform.toml` that no setting has; the settings themselves would ignore them."""
    project = find_project()
    chosen = tomllib.loads((project / PLATFORM_FILE).read_text("utf-8")) if project else {}
    known = RuntimeSettings.model_fields | ServiceSettings.model_fields | SecretSettings.model_fields
    for name in sorted(set(chosen) - set(known)):
        yield Problem(PLATFORM_FILE, f"it has no setting {name!r}; there is {', '.join(known)}")


def _applications(problems: list[Problem]) -> dict[str, Application]:
    try:
        found = find_applications()
    except NoApplication as error:
        problems.append(Problem("pyproject.toml", str(error)))
        return {}
    if not found:
        problems.append(
            Problem("pyproject.toml", "it declares no application", f'[project.entry-points."{ENTRY_POINTS}"]')
        )
    return found


def _load(
    model: type[ApplicationSettings], problems: list[Problem], overrides: dict[str, Any]
) -> ApplicationSettings | None:
    """The settings, and their problems. An invalid one is read as its default, so that the checks after it go on."""
    try:
        return model.load(**overrides)
    except ValidationError as error:
        found = [dict(item) for item in error.errors()]
        problems += [_setting_problem(model, item) for item in found]
        defaults = {name: field.default for item in found for name, field in [_find_field(model, item)] if field}
        if any(default is PydanticUndefined for default in defaults.values()) or defaults.keys() <= overrides.keys():
            return None
        return _load(model, [], {**overrides, **defaults})
    except (
        OSError,
        ValueError,
    ) as error:  # an unreadable .env, a platform.toml that is no TOML, broken JSON in a variable
        problems.append(Problem(model.__name__, f"{type(error).__name__}: {error}"))
    return None


def _setting_problem(model: type[BaseSettings], item: dict[str, Any]) -> Problem:
    location = [str(part) for part in item["loc"]]
    name, field = _find_field(model, item)
    variable = "__".join([variable_of(model, name, field), *location[1:]]).upper()
    if isinstance(item.get("input"), Refused):
        return Problem(variable_of(model, name, field).upper(), item["input"].problem)
    missing = item["type"] == "missing"
    others = [alias for alias in _aliases(field)[1:] if alias.isupper()] if field else []
    described = [field.description] if field and field.description else []
    purpose = "; ".join([*described, *(f"{other} sets it too" for other in others)])
    said = "is not set" if missing else f"is invalid: {item['msg']}"
    example = str(field.examples[0]) if field is not None and field.examples else ""
    return Problem(variable, f"{said} ({purpose})" if purpose else said, f"{variable}={example}" if example else "")


def _find_field(model: type[BaseSettings], item: dict[str, Any]) -> tuple[str, Any]:
    """The name and field that an error's location means: the location starts with the name or with an alias of it."""
    location = str(item["loc"][0]) if item["loc"] else ""
    for name, field in model.model_fields.items():
        if location in (name, *_aliases(field)):
            return name, field
    return location, None


def variable_of(model: type[BaseSettings], name: str, field: Any) -> str:
    """The variable that sets a field: the first of its aliases, or its name behind the prefix."""
    aliases = _aliases(field) if field else []
    return aliases[0] if aliases else f"{model.model_config.get('env_prefix', '')}{name}"


def _aliases(field: Any) -> list[str]:
    choices = getattr(field.validation_alias, "choices", [field.validation_alias])
    return [choice for choice in choices if isinstance(choice, str)]


def _model_problems(settings: RuntimeSettings) -> Iterator[Problem]:
    if FRAMEWORKS.get(settings.framework) == ():
        return
    models: dict[str, list[str]] = {}
    for model in dict.fromkeys((settings.model_fast, settings.model_strong)):
        models.setdefault(split_model(model)[0], []).append(model)
    for name, wanted in models.items():
        provider, used = PROVIDERS[name], " and ".join(wanted)
        if provider.key and not settings.api_key(wanted[0]):
            yield Problem(provider.key, f"is not set (the key for {used})", f"{provider.key}={provider.example}")
        if find_spec(provider.package) is None:
            yield Problem(
                "pyproject.toml", f"{used} needs the package {provider.package}", f"uv add '{provider.install}'"
            )


def _directory_problems(settings: RuntimeSettings) -> Iterator[Problem]:
    place = settings.writable_dir
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe = place / ".writable"
        probe.write_bytes(bytes(ENOUGH))
        probe.unlink(missing_ok=True)
    except OSError as error:
        yield Problem(
            "WRITABLE_DIR", f"{place} cannot be written: {error.strerror} (runs work in it)", "WRITABLE_DIR=/tmp/crews"
        )


def _framework_problems(settings: RuntimeSettings) -> Iterator[Problem]:
    if settings.framework not in FRAMEWORKS:
        yield Problem("FRAMEWORK", f"{settings.framework!r} is none of {', '.join(FRAMEWORKS)}", "FRAMEWORK=crewai")
    elif (packages := FRAMEWORKS[settings.framework]) and find_spec(packages[0]) is None:
        yield Problem("pyproject.toml", f"the framework {settings.framework} is not installed", "uv sync")
    else:
        for file, package in files_to_port(settings.framework):
            yield Problem(file, f"imports {package}, and the framework is {settings.framework} now: port it", SAMPLE)


def _service_problems(service: ServiceSettings, servers: bool) -> Iterator[Problem]:
    yield from _url_problems(ServiceSettings, "DATABASE_URL", service, POSTGRES_SCHEMES, servers)
    yield from _url_problems(ServiceSettings, "BROKER_URL", service, BROKER_SCHEMES[service.broker], servers)
    if service.auth == "oidc":
        for name in ("oidc_issuer", "oidc_audience"):
            if getattr(service, name) is None:
                yield _not_set(ServiceSettings, name.upper())


def _memory_problems(settings: RuntimeSettings, service: ServiceSettings, servers: bool) -> Iterator[Problem]:
    yield from _memory_place_problems(settings, service, servers)
    if settings.memory == "volume":
        yield from _volume_problems(settings, service)
    if settings.memory not in ("none", "mem0-cloud"):
        yield from _embedding_problems(settings)


def _memory_place_problems(settings: RuntimeSettings, service: ServiceSettings, servers: bool) -> Iterator[Problem]:
    if settings.memory == "pgvector":
        # What is on the embedded server has its role there.
        needed = servers or service.database_url is not None
        yield from _url_problems(RuntimeSettings, "MEMORY_DATABASE_URL", settings, POSTGRES_SCHEMES, needed)
        yield from _same_place_problems(settings, service)
    elif settings.memory != "none" and servers and not settings.memory_server():
        yield _not_set(RuntimeSettings, MEMORY_VARIABLES[settings.memory])


def _same_place_problems(settings: RuntimeSettings, service: ServiceSettings) -> Iterator[Problem]:
    """The memory is in the database of the runs, for another role."""
    mine, whole = _parts(settings.memory_database_url), _parts(service.database_url)
    if mine is None or whole is None:
        return
    name = "MEMORY_DATABASE_URL"
    if not mine.username or mine.username == whole.username:
        wrong = "names no user" if not mine.username else "names the user of DATABASE_URL, who owns the tables"
        yield Problem(name, f"{wrong}: the memory needs a role of its own, which `migrate` makes")
    if mine.path != whole.path:
        yield Problem(name, "names another database than DATABASE_URL: name the same")


def _parts(url: SecretStr | None) -> SplitResult | None:
    """The parts of a URL; None if it is none, or its port is not."""
    try:
        parts = urlsplit(url.get_secret_value() if url else "")
        return parts if parts.port is not None or parts.scheme else None
    except ValueError:
        return None


def _volume_problems(settings: RuntimeSettings, service: ServiceSettings) -> Iterator[Problem]:
    if settings.framework != "crewai":
        yield Problem("MEMORY", "volume is CrewAI's own store, and the framework is another", "MEMORY=pgvector")
    if service.workers > 1:
        yield Problem(
            "WORKERS",
            f"is {service.workers}, and a memory on a volume takes one worker; pgvector takes more",
            "WORKERS=1",
        )


def _embedding_problems(settings: RuntimeSettings) -> Iterator[Problem]:
    provider = PROVIDERS[split_model(settings.embedding_model)[0]]
    if provider.key and not settings.embedding_base_url and settings.embedding_key() is None:
        yield Problem(
            "EMBEDDING_API_KEY",
            f"is not set, nor {provider.key} (the key for {settings.embedding_model}, by which memories are found)",
            f"EMBEDDING_API_KEY={provider.example}",
        )


def _not_set(model: type[ApplicationSettings], variable: str, example: str = "") -> Problem:
    field = model.model_fields[variable.lower()]
    shown = example or (field.examples or [""])[0]
    return Problem(variable, f"is not set ({field.description})", f"{variable}={shown}")


def _url_problems(
    model: type[ApplicationSettings],
    variable: str,
    settings: ApplicationSettings,
    schemes: tuple[str, ...],
    needed: bool,
) -> Iterator[Problem]:
    url: SecretStr | None = getattr(settings, variable.lower())
    if url is None:
        if needed:
            yield _not_set(model, variable, EXAMPLES.get(schemes[0], ""))
        return
    scheme, separator, _ = url.get_secret_value().partition("://")
    if not separator:
        yield Problem(variable, f"is no URL of {' or '.join(schemes)}", EXAMPLES.get(schemes[0], ""))
    elif scheme not in schemes:
        yield Problem(variable, f"begins with {scheme[:20]!r} and must be a URL of {' or '.join(schemes)}")
    elif _parts(url) is None:
        why = "its port is no number from 0 to 65535; in a password, / # ? and % are written %2F %23 %3F %25"
        yield Problem(variable, f"is no URL: {why}")


def _missing_distributions() -> Iterator[Problem]:
    """What the project's own dependencies need and is not there, above all what `exclude-dependencies` leaves out."""
    excluded, platform = _uv_policy()
    seen: set[str] = set(platform)
    for point in entry_points(group=ENTRY_POINTS):
        if point.dist is not None:
            yield from _missing_below(point.dist, frozenset(), seen, excluded)


def _missing_below(
    wanted_by: Distribution, extras: frozenset[str], seen: set[str], excluded: dict[str, str]
) -> Iterator[Problem]:
    for text in wanted_by.requires or []:
        requirement = _applicable(text, extras)
        key = _canonical(requirement.name) if requirement else ""
        if requirement is None or key in seen:
            continue
        seen.add(key)
        try:
            found = distribution(requirement.name)
        except PackageNotFoundError:
            yield _not_installed(requirement.name, wanted_by.name, excluded.get(key))
        else:
            yield from _missing_below(found, frozenset(requirement.extras), seen, excluded)


def _not_installed(name: str, wanted_by: str, excluded_as: str | None) -> Problem:
    if excluded_as is None:
        return Problem(name, f"is not installed, and {wanted_by} needs it", "uv sync")
    return Problem(
        name,
        f"is left out by exclude-dependencies, and {wanted_by} needs it",
        f'delete the line "{excluded_as}" under [tool.uv] exclude-dependencies in pyproject.toml, then: uv sync',
    )


def _applicable(text: str, extras: frozenset[str]) -> Requirement | None:
    try:
        requirement = Requirement(text)
    except InvalidRequirement:
        return None
    marker = requirement.marker
    if marker is None or any(marker.evaluate({"extra": extra}) for extra in (*extras, "")):
        return requirement
    return None


def _uv_policy() -> tuple[dict[str, str], list[str]]:
    """What `exclude-dependencies` leaves out, and the platform's own distributions (it was made for those)."""
    project = find_project()
    if project is None or not (project / "pyproject.toml").is_file():
        return {}, ["crewyard-runtime"]
    try:
        content = tomllib.loads((project / "pyproject.toml").read_text("utf-8"))
    except tomllib.TOMLDecodeError:
        return {}, ["crewyard-runtime"]
    excluded = content.get("tool", {}).get("uv", {}).get("exclude-dependencies", [])
    platform = [text for text in content.get("dependency-groups", {}).get("platform", []) if isinstance(text, str)]
    return (
        {_canonical(re.split(r"[\s\[<>=!~;]", text)[0]): text for text in excluded},
        ["crewyard-runtime", *(_canonical(Requirement(text).name) for text in platform)],
    )


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
