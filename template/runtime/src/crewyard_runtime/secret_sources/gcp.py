"""Google Secret Manager: one secret for each variable, of which the latest version is read."""

import os

import google.auth
from google.api_core.exceptions import Forbidden, NotFound
from google.auth.exceptions import DefaultCredentialsError
from google.cloud.secretmanager import SecretManagerServiceClient

from crewyard_runtime.secret_sources.source import ANSWER_SECONDS, OneByOne, SecretsNotRead, answer_of, words_of

NAME = "GOOGLE_CLOUD_PROJECT"
ENDPOINT = "CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER"  # as gcloud calls it
SCOPE = "https://www.googleapis.com/auth/cloud-platform"


class Manager(OneByOne):
    """The secrets of a project. Their names are listed when this is made, and each value is asked for when it is read.

    Without the list a secret that is not there and one that is refused would look the same. Credentials are found as
    Google's libraries do.
    """

    def __init__(self, place: str, region: str | None) -> None:
        self.place = f"the secrets of the Google project {place}"
        self._project = place
        try:
            self._client, names = answer_of(self._listed)
        except Exception as error:
            raise SecretsNotRead(NAME, f"{self.place} cannot be listed: {words_of(error)}", _cure(error)) from None
        super().__init__(names)

    def _listed(self) -> tuple[SecretManagerServiceClient, dict[str, str]]:
        credentials, _ = google.auth.default(scopes=[SCOPE])
        # Not by gRPC: its threads would be there when this process makes others.
        endpoint = os.environ.get(ENDPOINT, "").rstrip("/")
        client = SecretManagerServiceClient(
            credentials=credentials, transport="rest", client_options={"api_endpoint": endpoint} if endpoint else None
        )
        listed = client.list_secrets(parent=f"projects/{self._project}", retry=None, timeout=ANSWER_SECONDS)
        names = sorted((secret.name.rpartition("/")[2] for secret in listed), reverse=True)
        return client, {name.upper(): name for name in names}

    def _value(self, secret: str) -> str:
        version = f"projects/{self._project}/secrets/{secret}/versions/latest"
        answer = self._client.access_secret_version(name=version, retry=None, timeout=ANSWER_SECONDS)
        return bytes(answer.payload.data).decode("utf-8-sig")

    def _why(self, error: Exception) -> str:
        if isinstance(error, UnicodeDecodeError):
            return "is no UTF-8 text"
        return "has no version: add one" if isinstance(error, NotFound) else super()._why(error)


def _cure(error: Exception) -> str:
    if isinstance(error, Forbidden):
        return "grant roles/secretmanager.viewer on the project"
    if isinstance(error, DefaultCredentialsError):
        return "give the machine a service account, or: gcloud auth application-default login"
    return ""
