"""A source of secrets as a source of settings: read like variables, below the variables."""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource

from crewyard_runtime.secret_sources.source import Refused, SecretsNotRead, Source


class SecretVariables(EnvSettingsSource):
    """Reads what the settings have a field for and no higher source has given; the rest of a place is not touched.

    What is there and cannot be read becomes a `Refused`, which fails the validation together with whatever else does.
    """

    def __init__(self, settings_cls: type[BaseSettings], source: Source) -> None:
        self._source = source
        super().__init__(settings_cls)

    def __call__(self) -> dict[str, Any]:
        """The values by the names that the settings know them by."""
        values: dict[str, str | None] = {}
        refused: dict[str, Any] = {}
        for key, env_name, name in self._wanted():
            try:
                value = self._source.read(name)
            except SecretsNotRead as error:
                refused[key] = Refused(error.problem)
            else:
                if value:
                    values[env_name] = value
        self.env_vars = values
        return {**super().__call__(), **refused}

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return {}  # what the higher sources have is not known before the call

    def _wanted(self) -> Iterator[tuple[str, str, str]]:
        """Of each secret to read: the field's key, the name by which it is looked up, and the source's own name."""
        names = sorted(self._source.names())
        for field_name, field in self.settings_cls.model_fields.items():
            for key, env_name in self._names_of(field, field_name):
                prefix = f"{env_name}{self.env_nested_delimiter}" if self.env_nested_delimiter else ""
                for name in names:
                    if name == env_name.upper() and not self._is_given(field, field_name):
                        yield key, env_name, name
                    elif prefix and name.startswith(prefix.upper()):
                        yield key, prefix + name[len(prefix) :].lower(), name

    def _is_given(self, field: FieldInfo, field_name: str) -> bool:
        return any(key in self.current_state for key, _ in self._names_of(field, field_name))

    def _names_of(self, field: FieldInfo, field_name: str) -> list[tuple[str, str]]:
        return [(key, env_name) for key, env_name, _ in self._extract_field_info(field, field_name)]
