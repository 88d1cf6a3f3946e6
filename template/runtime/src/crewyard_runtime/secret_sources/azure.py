"""Azure Key Vault: one secret for each variable, with dashes for underscores."""

import logging

from azure.core.exceptions import ClientAuthenticationError, HttpResponseError
from azure.identity import DefaultAzureCredential
from azure.keyvault.secrets import SecretClient

from crewyard_runtime.secret_sources.source import CONNECT_SECONDS, OneByOne, SecretsNotRead, answer_of, words_of

NAME = "AZURE_KEY_VAULT_URL"


class Manager(OneByOne):
    """The enabled secrets of a vault. Their names are listed when this is made, and each value is asked for when read.

    Credentials are found as Azure's libraries do.
    """

    def __init__(self, place: str, region: str | None) -> None:
        self.place = f"the vault {place}"
        self._url = place
        logging.getLogger("azure").setLevel(logging.ERROR)  # it warns of each place without credentials
        try:
            self._client, names = answer_of(self._listed)
        except Exception as error:
            raise SecretsNotRead(NAME, f"{self.place} cannot be listed: {words_of(error)}", _cure(error)) from None
        super().__init__(names)

    def _listed(self) -> tuple[SecretClient, dict[str, str]]:
        client = SecretClient(
            self._url,
            DefaultAzureCredential(process_timeout=CONNECT_SECONDS),
            connection_timeout=CONNECT_SECONDS,
            read_timeout=CONNECT_SECONDS,
            retry_total=1,
        )
        names = [secret.name for secret in client.list_properties_of_secrets() if secret.name and secret.enabled]
        return client, {name.upper().replace("-", "_"): name for name in names}

    def _value(self, secret: str) -> str:
        return self._client.get_secret(secret).value or ""


def _cure(error: Exception) -> str:
    if isinstance(error, ClientAuthenticationError):
        return "give the machine a managed identity, or: az login"
    if isinstance(error, HttpResponseError) and error.status_code == 403:
        return "assign the role Key Vault Secrets User"
    return ""
