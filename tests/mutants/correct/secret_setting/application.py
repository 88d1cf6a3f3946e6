"""The declaration of the customer desk. Imports no framework."""

from typing import Literal

from crewyard_runtime import Application, ApplicationSettings
from pydantic import BaseModel, Field, HttpUrl, SecretStr


class Customer(BaseModel):
    """Whom it is about."""

    customer: str
    question: str


class Advice(BaseModel):
    """What to tell them."""

    text: str
    next_step: Literal["call", "mail", "nothing"]


class Settings(ApplicationSettings):
    """The access to our customer database."""

    crm_token: SecretStr = Field(description="the key of the customer database", examples=["crm-example-8d1f0a63"])
    crm_url: HttpUrl = Field(description="where it is", examples=["https://crm.invalid/api"])
    mail_token: SecretStr = Field(default=SecretStr(""), description="the key of the mail server, if there is one")
    crm_region: str = Field(default="eu", description="which half of it", examples=["eu"])


application = Application(
    name="support", input=Customer, output=Advice, settings=Settings, build="my_crew.crew:build_crew"
)
