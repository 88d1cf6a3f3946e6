"""Where a setting is read that no variable has: the files of a directory, or a cloud's manager of secrets."""

import warnings
from functools import cache
from importlib import import_module
from pathlib import Path

from crewyard_runtime.secret_sources.files import Directory
from crewyard_runtime.secret_sources.source import Refused, SecretsNotRead, Source
from crewyard_runtime.secret_sources.variables import SecretVariables

__all__ = ["PLACES", "Refused", "SecretVariables", "SecretsNotRead", "Source", "open_source"]

# What names the place of each source.
PLACES = {
    "files": "SECRETS_DIR",
    "aws": "AWS_SECRET_ID",
    "gcp": "GOOGLE_CLOUD_PROJECT",
    "azure": "AZURE_KEY_VAULT_URL",
}
# What a project has installed that chose a manager, by the module of this room that imports it.
PACKAGES = {
    "aws": "pydantic-settings[aws-secrets-manager]",
    "gcp": "pydantic-settings[gcp-secret-manager]",
    "azure": "pydantic-settings[azure-key-vault]",
}


def open_source(kind: str, place: Path | str | None, region: str | None) -> Source | None:
    """The source of this kind at this place; None if there is none to ask. Raises SecretsNotRead.

    A manager is asked once in the life of a process, also if that failed: after a rotation a process is started anew.
    """
    if kind == "environment" or place is None:
        return None
    if kind == "files":
        return Directory(Path(place))
    found = _manager(kind, str(place), region)
    if isinstance(found, SecretsNotRead):
        raise found
    return found


@cache
def _manager(kind: str, place: str, region: str | None) -> Source | SecretsNotRead:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # Google's, of the Pythons that it will drop one day
            module = import_module(f"crewyard_runtime.secret_sources.{kind}")
    except ModuleNotFoundError as error:
        problem = f"SECRETS is {kind}, and {error.name} is not installed"
        return SecretsNotRead("pyproject.toml", problem, f"uv add '{PACKAGES[kind]}'")
    try:
        source: Source = module.Manager(place, region)
    except SecretsNotRead as error:
        return error
    return source
