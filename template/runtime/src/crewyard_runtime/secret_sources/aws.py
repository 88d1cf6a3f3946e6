"""AWS Secrets Manager: one secret, whose value is a JSON object of variables."""

import json
from collections.abc import Collection

import boto3  # type: ignore[import-untyped]
from botocore.config import Config  # type: ignore[import-untyped]
from botocore.exceptions import ClientError, NoCredentialsError  # type: ignore[import-untyped]

from crewyard_runtime.secret_sources.source import CONNECT_SECONDS, SecretsNotRead, answer_of, words_of

NAME = "AWS_SECRET_ID"
ONE_TRY = Config(connect_timeout=CONNECT_SECONDS, read_timeout=CONNECT_SECONDS, retries={"total_max_attempts": 2})
# By botocore's name of an error: what mends it.
CURES = {
    "AccessDeniedException": "allow secretsmanager:GetSecretValue, and kms:Decrypt where the secret has its own key",
    "ResourceNotFoundException": "look at AWS_REGION too",
    "NoCredentialsError": "give the machine a role, or set AWS_PROFILE",
}


class Manager:
    """The variables of one secret. It is read as a whole, when this is made; credentials are found as boto3 does."""

    def __init__(self, place: str, region: str | None) -> None:
        self.place = f"AWS's secret {place}"
        self._values = self._parsed(self._asked(place, region))

    def names(self) -> Collection[str]:
        """The keys of the object, in upper case."""
        return self._values.keys()

    def read(self, name: str) -> str:
        """The value of a key."""
        return self._values[name]

    def _asked(self, place: str, region: str | None) -> str | None:
        def ask() -> str | None:
            client = boto3.Session().client("secretsmanager", region_name=region, config=ONE_TRY)
            text: str | None = client.get_secret_value(SecretId=place).get("SecretString")
            return text

        try:
            return answer_of(ask)
        except Exception as error:
            raise SecretsNotRead(NAME, f"{self.place} cannot be read: {words_of(error)}", _cure(error)) from None

    def _parsed(self, text: str | None) -> dict[str, str]:
        try:
            found = json.loads(text or "")
        except ValueError:
            found = None
        if not isinstance(found, dict):
            example = '{"OPENAI_API_KEY": "...", "DATABASE_URL": "..."}'
            raise SecretsNotRead(NAME, f"{self.place} is no JSON object of variables", example)
        # Numbers and lists as their JSON, which is how a variable gives them.
        given = {name: value for name, value in found.items() if value is not None}
        return {n.upper(): v.strip() if isinstance(v, str) else json.dumps(v) for n, v in given.items()}


def _cure(error: Exception) -> str:
    if isinstance(error, NoCredentialsError):
        return CURES["NoCredentialsError"]
    return CURES.get(error.response["Error"].get("Code", ""), "") if isinstance(error, ClientError) else ""
