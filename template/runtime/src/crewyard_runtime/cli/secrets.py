"""The command `secrets init`: the files that compose.yaml mounts."""

import argparse
import base64
import fcntl
import os
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr, ValidationError

from crewyard_runtime.application import NoApplication, find_applications
from crewyard_runtime.errors import NotReady
from crewyard_runtime.providers import PROVIDERS, split_model
from crewyard_runtime.settings import ApplicationSettings, RuntimeSettings, ServiceSettings, find_project
from crewyard_runtime.startup import variable_of

# Others on the machine cannot enter the first directory, and below it the user of the image can read, whoever that is.
CLOSED, OPEN, READABLE = 0o700, 0o755, 0o644
ROLE = "crew"  # the user and the database in compose.yaml


def add_commands(commands: Any) -> None:
    """Add `secrets`."""
    group = commands.add_parser("secrets", help="the files of secrets that compose.yaml mounts")
    actions = group.add_subparsers(required=True, metavar="action")
    init = actions.add_parser("init", help="make those that are not there, with keys from your variables and .env")
    init.set_defaults(command=_init)


def _init(arguments: argparse.Namespace) -> int:
    os.environ["SECRETS"] = "environment"  # what a manager keeps is not to be on a disk
    place = (find_project() or Path.cwd()) / "secrets"
    try:
        settings, service = RuntimeSettings.load(), ServiceSettings.load()
        mounted = _made(place)
        with (place / ".gitignore").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # of two at once, each would have passwords of its own
            written = [*_servers(place, mounted, settings, service), *_keys(mounted, settings, service)]
    except ValidationError:
        msg = "Settings are invalid: `check` names each of them."
        raise NotReady(msg) from None
    except OSError as error:
        msg = f"{error.filename or place} cannot be written: {error.strerror}."
        raise NotReady(msg) from error
    print(f"made in {place}: {', '.join(written)}" if written else f"all is there already, in {place}")
    for variable in _missing(mounted, settings):
        print(f"write {variable} to {mounted / variable}", file=sys.stderr)
    return 0


def _made(place: Path) -> Path:
    """The directory that is mounted, in one that only its owner enters and git leaves out."""
    mounted = place / "mounted"
    mounted.mkdir(parents=True, exist_ok=True)
    place.chmod(CLOSED)
    mounted.chmod(OPEN)
    (place / ".gitignore").write_text("*\n")
    return mounted


def _servers(place: Path, mounted: Path, settings: RuntimeSettings, service: ServiceSettings) -> Iterator[str]:
    """Write what the servers of compose.yaml are told, and by what the project finds them; give the names of both."""
    password = _kept(place / "POSTGRES_PASSWORD", _password_in(mounted / "DATABASE_URL"))
    files = {
        place / "POSTGRES_PASSWORD": password,
        mounted / "DATABASE_URL": f"postgresql://{ROLE}:{password}@postgres/{ROLE}",
        mounted / "WEBHOOK_SECRET": f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}",
    }
    if settings.memory == "pgvector":
        files[mounted / "MEMORY_DATABASE_URL"] = f"postgresql://{ROLE}_memory:{_password()}@postgres/{ROLE}"
    elif settings.memory == "qdrant":
        key = _kept(mounted / "QDRANT_API_KEY", _password())
        files[mounted / "QDRANT_API_KEY"] = key
        files[place / "qdrant.yaml"] = f"service: {{api_key: {key}}}\nstorage: {{snapshots_path: ./storage/snapshots}}"
    files |= _of_broker(place, mounted, service.broker)
    for file, text in files.items():
        if not file.exists():
            _write(file, text)
            yield file.name


def _of_broker(place: Path, mounted: Path, broker: str) -> dict[Path, str]:
    if broker == "sqs":
        return {mounted / "BROKER_URL": "sqs://"}
    password = _kept(place / "BROKER_PASSWORD", _password_in(mounted / "BROKER_URL"))
    told = {
        "redis": f"requirepass {password}\nappendonly yes\ndir /data",
        "rabbitmq": f"default_user = {ROLE}\ndefault_pass = {password}\nconsumer_timeout = 86400000",
    }
    urls = {"redis": f"redis://:{password}@broker:6379/0", "rabbitmq": f"amqp://{ROLE}:{password}@broker:5672//"}
    return {
        place / "BROKER_PASSWORD": password,
        place / "broker.conf": told[broker],
        mounted / "BROKER_URL": urls[broker],
    }


def _keys(mounted: Path, settings: RuntimeSettings, service: ServiceSettings) -> Iterator[str]:
    """Write the secrets that are set on this machine, the team's own too, and give their names."""
    for found in (settings, service, *_of_the_team()):
        for name, field in type(found).model_fields.items():
            value, file = getattr(found, name), mounted / variable_of(type(found), name, field).upper()
            if isinstance(value, SecretStr) and not file.exists():
                _write(file, value.get_secret_value())
                yield file.name


def _of_the_team() -> Iterator[ApplicationSettings]:
    try:
        for application in find_applications().values():
            yield application.settings.load()
    except (ValidationError, NoApplication) as error:
        print(f"the project's own settings are left out, `check` says why: {type(error).__name__}", file=sys.stderr)


def _missing(mounted: Path, settings: RuntimeSettings) -> list[str]:
    models = [settings.model_fast, settings.model_strong]
    if settings.memory in ("pgvector", "qdrant", "volume") and not (mounted / "EMBEDDING_API_KEY").exists():
        models.append(settings.embedding_model)
    keys = [PROVIDERS[split_model(model)[0]].key for model in models]
    keys += ["MEM0_API_KEY"] if settings.memory == "mem0-cloud" else []
    return [key for key in dict.fromkeys(filter(None, keys)) if not (mounted / key).exists()]


def _password() -> str:
    return secrets.token_hex(24)


def _password_in(file: Path) -> str:
    """The password of a URL in a file, or a new one."""
    return (urlsplit(_kept(file, "")).password or "") or _password()


def _kept(file: Path, otherwise: str) -> str:
    return file.read_text("utf-8").strip() if file.exists() else otherwise


def _write(file: Path, text: str) -> None:
    """Whole or not at all, also if the disk fills up."""
    half = file.with_name(f".{file.name}.half")
    half.write_text(f"{text}\n", "utf-8")
    half.chmod(READABLE)
    half.rename(file)
