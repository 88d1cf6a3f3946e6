"""Where secrets are read: from files, from AWS against moto, from Google and Azure against servers of our own."""

import base64
import json
import os
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Self

import boto3  # type: ignore[import-untyped]
import pytest
from crewyard_runtime import Application, ApplicationSettings, secret_sources
from crewyard_runtime.secret_sources import SecretsNotRead, source
from crewyard_runtime.settings import RuntimeSettings, ServiceSettings, plain
from crewyard_runtime.startup import Problem, examine
from crewyard_runtime.testing.servers import Sqs
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from pydantic import BaseModel, Field, SecretStr

KEY = "sk-recognisable-7f3a"
PEM = "-----BEGIN KEY-----\nMIIB\nAAAA\n-----END KEY-----"
OTHER_UID = 10_001
CLOSED = "http://127.0.0.1:9"


class Team(ApplicationSettings):
    """What a team may declare: secrets of one line and of several, and what is no secret."""

    crm_token: SecretStr
    signing_key: SecretStr | None = None
    regions: list[str] = Field(default=[])
    nickname: str = "none"


class Text(BaseModel):
    """An input and an output."""

    text: str = ""


APPLICATION = Application(name="mine", input=Text, output=Text, build="nowhere:build", settings=Team)


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory for secrets in a project without any, a home of its own, and no variable; no manager was asked."""
    for name in set(os.environ) - {"PATH"}:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "platform.toml").touch()
    (tmp_path / "secrets").mkdir()
    # Neither the machine's credentials nor its metadata.
    set_all(monkeypatch, HOME=str(tmp_path), AWS_EC2_METADATA_DISABLED="true", NO_GCE_CHECK="true")
    set_all(monkeypatch, SECRETS_DIR=str(tmp_path / "secrets"), WRITABLE_DIR=str(tmp_path / "writable"))
    secret_sources._manager.cache_clear()
    return tmp_path


def set_all(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def write(place: Path, **secrets: str | bytes) -> None:
    for name, value in secrets.items():
        (place / "secrets" / name).write_bytes(value if isinstance(value, bytes) else value.encode())


def problems() -> dict[str, Problem]:
    """What the startup validation finds in the settings, by the name."""
    return {problem.name: problem for problem in examine(applications={"mine": APPLICATION}).problems}


def openai_key() -> str | None:
    key = RuntimeSettings.load().openai_api_key
    return key.get_secret_value() if key else None


SOURCES = ["given", "environment", ".env", "file", "platform.toml"]


@pytest.mark.parametrize("highest", SOURCES)
def test_the_highest_source_wins(place: Path, monkeypatch: pytest.MonkeyPatch, highest: str) -> None:
    there = SOURCES[SOURCES.index(highest) :]
    (place / "platform.toml").write_text('model_fast = "openai/platform.toml"\n')
    if "file" in there:
        write(place, MODEL_FAST="openai/file")
    if ".env" in there:
        (place / ".env").write_text("MODEL_FAST=openai/.env\n")
    if "environment" in there:
        monkeypatch.setenv("MODEL_FAST", "openai/environment")
    given = {"model_fast": "openai/given"} if "given" in there else {}
    assert RuntimeSettings.load(**given).model_fast == f"openai/{highest}"


@pytest.mark.parametrize("name", ["OPENAI_API_KEY", "openai_api_key", "OpenAI_API_Key"])
def test_a_file_is_named_like_the_variable_in_any_case(place: Path, name: str) -> None:
    write(place, **{name: f"{KEY}\n"})
    assert openai_key() == KEY


def test_every_class_of_settings_reads_files(place: Path) -> None:
    write(place, openai_api_key=KEY, database_url="postgresql://u:p@db/crew", crm_token="t", regions='["north"]')
    database = ServiceSettings.load().database_url
    assert database is not None
    assert (openai_key(), database.get_secret_value()) == (KEY, "postgresql://u:p@db/crew")
    assert Team.load().regions == ["north"]


def test_a_limit_from_a_file_leaves_the_others(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(place, LIMITS__MAX_ITER="3")
    monkeypatch.setenv("LIMITS__TOOL_SECONDS", "9")
    limits = RuntimeSettings.load().limits
    assert (limits.max_iter, limits.tool_seconds, limits.model_seconds) == (3, 9, 60)


def test_what_kubernetes_mounts_is_read(place: Path) -> None:
    """A directory of links to a link, beside which the pod's own token lies in a directory."""
    mounted = place / "secrets"
    (mounted / "..2026_11_22").mkdir()
    (mounted / "..2026_11_22/OPENAI_API_KEY").write_text(KEY)
    (mounted / "..data").symlink_to("..2026_11_22")
    (mounted / "OPENAI_API_KEY").symlink_to("..data/OPENAI_API_KEY")
    (mounted / "kubernetes.io/serviceaccount").mkdir(parents=True)
    assert openai_key() == KEY


def test_a_directory_that_is_not_there_is_no_problem(place: Path) -> None:
    (place / "secrets").rmdir()
    assert problems()["OPENAI_API_KEY"].problem.startswith("is not set (the key for ")


def test_a_missing_secret_is_told_with_the_place_where_it_was_looked_for(place: Path) -> None:
    found = problems()
    looked = f"is not set, nor in the files of {place}/secrets"
    assert [name for name in found if found[name].problem.startswith(looked)] == ["CRM_TOKEN", "OPENAI_API_KEY"]


def test_secrets_of_the_environment_are_not_looked_for_in_files(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(place, OPENAI_API_KEY=KEY)
    monkeypatch.setenv("SECRETS", "environment")
    assert openai_key() is None


def _directory(path: Path) -> None:
    path.mkdir()


UNREADABLE = {
    "too big": (lambda path: path.write_bytes(b"x" * 65_537), "has more than 65,536 bytes"),
    "binary": (lambda path: path.write_bytes(b"\xff\xfe\x00"), "is no UTF-8 text"),
    "a directory": (_directory, "is a directory, which Docker makes where a file to mount is missing"),
    "a link to nothing": (lambda path: path.symlink_to("nothing"), "is a link to nothing"),
    "a pipe that nobody writes to": (os.mkfifo, "is no file"),
    "a link to itself": (lambda path: path.symlink_to(path.name), "cannot be read: Too many levels"),
}


@pytest.mark.parametrize(("make", "why"), UNREADABLE.values(), ids=UNREADABLE)
def test_a_file_that_is_no_secret_is_named_with_all_else_that_is_wrong(place: Path, make: Any, why: str) -> None:
    make(place / "secrets/openai_api_key")
    make(place / "secrets/CRM_TOKEN")
    found = problems()
    for name, file in (("OPENAI_API_KEY", "openai_api_key"), ("CRM_TOKEN", "CRM_TOKEN")):
        assert found[name].problem.startswith(f"its file {place}/secrets/{file} {why}")
        assert "is not set" not in found[name].problem


def test_a_file_of_another_user_is_named_with_who_cannot_read_it() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    with tempfile.TemporaryDirectory() as directory:
        mounted = Path(directory)
        mounted.chmod(0o755)
        (mounted / "openai_api_key").write_text(KEY)
        (mounted / "openai_api_key").chmod(0o600)
        told = _as_another_user(mounted)
    assert told.startswith(f"its file {mounted}/openai_api_key cannot be read by uid {OTHER_UID}: give it to that user")


def test_a_directory_of_another_user_is_named(place: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    with tempfile.TemporaryDirectory() as directory:  # 0700
        told = _as_another_user(Path(directory))
    assert told == f"{directory} cannot be listed by uid {OTHER_UID}: Permission denied"


def _as_another_user(directory: Path) -> str:
    """What a process of another user is told of a key in this directory."""
    problems()  # imports what the child might not be allowed to
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        try:
            os.chdir("/")
            os.setgid(OTHER_UID)
            os.setuid(OTHER_UID)
            os.environ["SECRETS_DIR"] = str(directory)
            found = problems()
            os.write(writing, found[min({"OPENAI_API_KEY", "SECRETS_DIR"} & found.keys())].problem.encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        told = pipe.read()
    os.waitpid(child, 0)
    return told


def test_a_file_that_cannot_be_read_is_no_problem_below_a_variable(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "secrets/openai_api_key").mkdir()
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    assert openai_key() == KEY


def test_a_variable_wins_over_a_file_by_its_other_name_too(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(place, OPENAI_BASE_URL="http://of-a-file")
    monkeypatch.setenv("OPENAI_API_BASE", "http://of-the-environment")
    assert RuntimeSettings.load().openai_base_url == "http://of-the-environment"


def test_files_of_others_are_left_alone(place: Path) -> None:
    write(place, SOMETHING_ELSE=b"\xff", crm_token="t", openai_api_key=KEY)
    assert not {"SOMETHING_ELSE", "CRM_TOKEN", "OPENAI_API_KEY"} & problems().keys()


@pytest.mark.parametrize("given", ["file", "environment", ".env"])
def test_white_space_around_a_key_is_no_part_of_it(place: Path, monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    if given == "file":
        write(place, OPENAI_API_KEY=f"\ufeff {KEY}\r\n")
    elif given == ".env":
        (place / ".env").write_text(f'OPENAI_API_KEY=" {KEY}\\n"\n')
    else:
        monkeypatch.setenv("OPENAI_API_KEY", f" {KEY}\n")
    assert openai_key() == KEY


@pytest.mark.parametrize("given", ["file", "environment"])
def test_a_key_of_white_space_alone_is_not_set(place: Path, monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    write(place, OPENAI_API_KEY=" \n") if given == "file" else monkeypatch.setenv("OPENAI_API_KEY", " \n")
    assert openai_key() is None


@pytest.mark.parametrize("given", ["file", "environment"])
@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("OPENAI_API_KEY", f"{KEY}\n{KEY}", "a line break"),
        ("DATABASE_URL", f"postgresql://u:{KEY}@db/crew and more", "a space"),
        ("MEM0_API_KEY", f"{KEY}\x07", "a character that cannot be seen"),
        ("WEBHOOK_SECRET", f"{KEY}\u200b", "a character that cannot be seen"),
        ("BROKER_URL", f"redis://:{KEY}@\u00a0broker", "a space"),
    ],
)
def test_a_secret_that_no_server_takes_is_named_and_not_shown(
    place: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, why: str, given: str
) -> None:
    write(place, **{name: value}) if given == "file" else monkeypatch.setenv(name, value)
    found = problems()
    assert f"it has {why} inside" in found[name].problem
    assert KEY not in str(found)


def test_a_teams_secret_may_have_several_lines(place: Path) -> None:
    write(place, crm_token="t", signing_key=f"{PEM}\n")
    key = Team.load().signing_key
    assert key is not None
    assert key.get_secret_value() == PEM


def test_a_secret_that_is_no_json_where_a_list_is_needed_is_not_shown(place: Path) -> None:
    write(place, crm_token="t", regions=KEY)
    found = problems()
    assert "regions" in found["Team"].problem
    assert KEY not in str(found)


def test_what_is_not_loaded_reads_no_secret(place: Path) -> None:
    """The settings of a run are made of what came by its pipe, wherever its process is."""
    write(place, OPENAI_API_KEY=KEY, NICKNAME="of a file")
    made = RuntimeSettings(**plain(RuntimeSettings(writable_dir=place))), Team(crm_token=SecretStr("t"))
    assert (made[0].openai_api_key, made[1].nickname) == (None, "none")


def test_settings_that_were_read_do_not_show_their_secrets(place: Path) -> None:
    write(place, OPENAI_API_KEY=KEY, DATABASE_URL=f"postgresql://u:{KEY}@db/crew", CRM_TOKEN=KEY)
    assert KEY not in f"{RuntimeSettings.load()!r} {ServiceSettings.load()} {Team.load()!r}"


@pytest.mark.parametrize("kind", ["files", "environment", "aws", "gcp", "azure"])
def test_check_imports_no_manager_that_is_not_asked(place: Path, kind: str) -> None:
    """Also where one is chosen and not named, as on a laptop."""
    command = [sys.executable, "-X", "importtime", "-m", "crewyard_runtime", "check"]
    environment = {"PATH": os.environ["PATH"], "HOME": str(place), "SECRETS": kind}
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False, env=environment, timeout=60)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if "import time:" in line}
    assert "crewyard_runtime.secret_sources" in imported
    assert not {"boto3", "google.auth", "azure.core"} & imported


@pytest.mark.parametrize(
    ("kind", "name"), [("aws", "AWS_SECRET_ID"), ("gcp", "GOOGLE_CLOUD_PROJECT"), ("azure", "AZURE_KEY_VAULT_URL")]
)
def test_production_must_name_its_manager(place: Path, monkeypatch: pytest.MonkeyPatch, kind: str, name: str) -> None:
    (place / "platform.toml").unlink()  # without a project there are no embedded servers
    monkeypatch.setenv("SECRETS", kind)
    assert problems()[name].problem.startswith("is not set (the ")


def test_a_source_that_does_not_exist_is_refused_with_those_that_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRETS", "vault")
    assert "'files', 'environment', 'aws', 'gcp' or 'azure'" in problems()["SECRETS"].problem


@pytest.mark.parametrize(("kind", "module"), [("aws", "boto3"), ("gcp", "google.auth"), ("azure", "azure.identity")])
def test_a_manager_whose_package_is_not_installed_is_named(
    place: Path, monkeypatch: pytest.MonkeyPatch, kind: str, module: str
) -> None:
    monkeypatch.delitem(sys.modules, f"crewyard_runtime.secret_sources.{kind}", raising=False)
    monkeypatch.setitem(sys.modules, module, None)
    set_all(monkeypatch, SECRETS=kind, AWS_SECRET_ID="x", GOOGLE_CLOUD_PROJECT="x", AZURE_KEY_VAULT_URL="https://x")
    told = problems()["pyproject.toml"]
    assert told.problem == f"SECRETS is {kind}, and {module} is not installed"
    assert told.example.startswith("uv add 'pydantic-settings[")


class Answers:
    """An HTTP server with an answer for each path; it remembers what it was asked. `with Answers() as server:`"""

    def __init__(self, tls: Path | None = None) -> None:
        self.answers: dict[str, tuple[int, dict[str, str], Any]] = {}
        self.asked: list[str] = []
        self.open = threading.Event()  # clear: nothing is answered
        self.open.set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=[0.05], daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def give(self, path: str, body: Any, status: int = 200, **headers: str) -> None:
        self.answers[path] = (status, headers, body)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        answers, asked, opened = self.answers, self.asked, self.open

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                asked.append(path)
                opened.wait(10)
                self.rfile.read(int(self.headers.get("content-length", 0)))
                status, headers, body = answers.get(path, (404, {}, {"error": {"code": 404, "status": "NOT_FOUND"}}))
                if "challenge" in headers and "authorization" not in self.headers:
                    status, body = 401, {}
                self.send_response(status)
                if "challenge" in headers:
                    self.send_header("WWW-Authenticate", headers["challenge"])
                self.send_header("content-type", "application/json")
                self.end_headers()
                self.wfile.write(json.dumps(body).encode())

            def do_POST(self) -> None:
                self.do_GET()

            def log_message(self, *arguments: Any) -> None:
                pass

        return Handler


@pytest.fixture
def answers() -> Iterator[Answers]:
    with Answers() as server:
        yield server


@pytest.fixture(scope="module")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sqs]:
    """The server of moto, which speaks for every service of AWS."""
    with Sqs(tmp_path_factory.mktemp("moto")) as server:
        yield server


@pytest.fixture
def aws(moto: Sqs, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A client of the secrets manager that the settings are sent to."""
    moto.flush()
    set_all(monkeypatch, SECRETS="aws", AWS_SECRET_ID="my-crew/test", AWS_REGION="eu-central-1")
    set_all(monkeypatch, AWS_ACCESS_KEY_ID="testing", AWS_SECRET_ACCESS_KEY="testing")
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", moto.endpoint_url)
    return boto3.client("secretsmanager", region_name="eu-central-1")


def test_a_secret_of_aws_holds_all_variables(aws: Any) -> None:
    held = {"OPENAI_API_KEY": f"{KEY}\n", "database_url": "postgresql://u@db/crew", "CRM_TOKEN": "t", "REGIONS": ["a"]}
    aws.create_secret(Name="my-crew/test", SecretString=json.dumps(held))
    team, database = Team.load(), ServiceSettings.load().database_url
    assert database is not None
    assert (openai_key(), database.get_secret_value()) == (KEY, "postgresql://u@db/crew")
    assert (team.crm_token.get_secret_value(), team.regions) == ("t", ["a"])


def test_a_variable_wins_over_a_secret_of_aws(aws: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    aws.create_secret(Name="my-crew/test", SecretString='{"OPENAI_API_KEY": "of AWS"}')
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    assert openai_key() == KEY


def test_a_process_asks_aws_once(aws: Any) -> None:
    aws.create_secret(Name="my-crew/test", SecretString=json.dumps({"OPENAI_API_KEY": KEY, "CRM_TOKEN": "t"}))
    assert openai_key() == KEY
    aws.delete_secret(SecretId="my-crew/test", ForceDeleteWithoutRecovery=True)
    assert (openai_key(), Team.load().crm_token.get_secret_value()) == (KEY, "t")


def test_what_a_secret_of_aws_lacks_is_told_with_its_name(aws: Any) -> None:
    aws.create_secret(Name="my-crew/test", SecretString='{"CRM_TOKEN": "t"}')
    assert problems()["OPENAI_API_KEY"].problem.startswith("is not set, nor in AWS's secret my-crew/test (the key for")


@pytest.mark.parametrize("text", [KEY, f'["{KEY}"]', f'{{"OPENAI_API_KEY": "{KEY}"'])
def test_a_secret_of_aws_that_is_no_json_object_is_named_and_not_shown(aws: Any, text: str) -> None:
    aws.create_secret(Name="my-crew/test", SecretString=text)
    found = problems()
    assert found["AWS_SECRET_ID"].problem == "AWS's secret my-crew/test is no JSON object of variables"
    assert KEY not in str(found)


def test_a_binary_secret_of_aws_is_named(aws: Any) -> None:
    aws.create_secret(Name="my-crew/test", SecretBinary=b"x")
    assert problems()["AWS_SECRET_ID"].problem == "AWS's secret my-crew/test is no JSON object of variables"


def test_a_secret_of_aws_that_is_not_there_is_named(aws: Any) -> None:
    told = problems()["AWS_SECRET_ID"]
    assert told.problem.startswith("AWS's secret my-crew/test cannot be read: An error occurred (ResourceNotFound")
    assert told.example == "look at AWS_REGION too"


def test_a_secret_of_aws_that_is_refused_is_told_with_what_to_allow(
    aws: Any, answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusal = {"__type": "AccessDeniedException", "Message": "User: arn:aws:sts::1:role/crew is not authorized"}
    answers.give("/", refusal, 400)
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", answers.url)
    told = problems()["AWS_SECRET_ID"]
    assert told.problem.endswith("User: arn:aws:sts::1:role/crew is not authorized")
    assert told.example.startswith("allow secretsmanager:GetSecretValue")


@pytest.mark.parametrize(
    ("variables", "why"),
    [
        ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "Unable to locate credentials"),
        ({"AWS_REGION": ""}, "You must specify a region"),
        ({"AWS_ENDPOINT_URL_SECRETS_MANAGER": CLOSED}, 'Could not connect to the endpoint URL: "http://127.0.0.1:9/"'),
    ],
)
def test_what_keeps_us_from_aws_is_one_sentence(
    aws: Any, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], why: str
) -> None:
    set_all(monkeypatch, **variables)
    assert problems()["AWS_SECRET_ID"].problem == f"AWS's secret my-crew/test cannot be read: {why}"


def test_a_manager_that_does_not_answer_is_waited_for_once_and_not_long(
    aws: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "ANSWER_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", f"http://127.0.0.1:{silent.getsockname()[1]}")
        before = time.monotonic()
        first, second = problems(), problems()
    assert first["AWS_SECRET_ID"].problem.endswith("cannot be read: no answer within 0.5 seconds")
    assert first == second
    assert time.monotonic() - before < 1.5


def test_a_command_is_refused_with_the_same_sentence(aws: Any, place: Path) -> None:
    command = [sys.executable, "-m", "crewyard_runtime", "keys", "list"]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 78
    assert "AWS's secret my-crew/test cannot be read" in done.stderr
    assert "Traceback" not in done.stderr


def test_loading_without_the_validation_fails_too(aws: Any) -> None:
    with pytest.raises(SecretsNotRead, match="AWS_SECRET_ID: AWS's secret my-crew/test cannot be read"):
        ServiceSettings.load()


def _private_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65_537, key_size=2_048)


def _pem(key: rsa.RSAPrivateKey) -> bytes:
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return key.private_bytes(*form)


LISTED = "/v1/projects/my-project/secrets"


@pytest.fixture
def gcp(answers: Answers, place: Path, monkeypatch: pytest.MonkeyPatch) -> Answers:
    """Google's Secret Manager with a few secrets, and a service account that may read them."""
    account = {"type": "service_account", "client_email": "crew@my-project.iam", "token_uri": f"{answers.url}/token"}
    (place / "account.json").write_text(json.dumps({**account, "private_key": _pem(_private_key()).decode()}))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(place / "account.json"))
    set_all(monkeypatch, SECRETS="gcp", GOOGLE_CLOUD_PROJECT="my-project")
    monkeypatch.setenv("CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER", f"{answers.url}/")
    answers.give("/token", {"access_token": "token", "expires_in": 3_600, "token_type": "Bearer"})
    held = {"OPENAI_API_KEY": f"{KEY}\n", "crm_token": "t", "SOMETHING_ELSE": "x"}
    answers.give(LISTED, {"secrets": [{"name": f"projects/1/secrets/{name}"} for name in held]})
    for name, value in held.items():
        data = base64.b64encode(value.encode()).decode()
        answers.give(f"{LISTED}/{name}/versions/latest:access", {"payload": {"data": data}})
    return answers


def test_each_secret_of_google_is_a_variable(gcp: Answers) -> None:
    assert (openai_key(), Team.load().crm_token.get_secret_value()) == (KEY, "t")


def test_google_is_asked_once_and_for_what_is_needed_alone(gcp: Answers) -> None:
    for _ in range(2):
        assert openai_key() == KEY
        ServiceSettings.load()
        Team.load()
    read = [f"{LISTED}/{name}/versions/latest:access" for name in ("OPENAI_API_KEY", "crm_token")]
    assert [path for path in gcp.asked if path != "/token"] == [LISTED, *read]


def test_google_is_not_asked_for_what_is_set(gcp: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    RuntimeSettings.load()
    assert not [path for path in gcp.asked if "OPENAI_API_KEY" in path]


DENIED = {"error": {"code": 403, "status": "PERMISSION_DENIED", "message": "Permission denied on the resource"}}


def test_one_refused_secret_of_google_is_named_with_all_else_that_is_wrong(gcp: Answers) -> None:
    gcp.give(f"{LISTED}/crm_token/versions/latest:access", DENIED, 403)
    gcp.give(LISTED, {"secrets": [{"name": "projects/1/secrets/crm_token"}]})
    found = problems()
    assert found["CRM_TOKEN"].problem.startswith("its secret crm_token cannot be read: 403")
    assert found["OPENAI_API_KEY"].problem.startswith("is not set, nor in the secrets of the Google project my-project")


def test_after_a_secret_that_google_does_not_answer_no_other_is_waited_for(
    gcp: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    ServiceSettings.load()  # lists
    monkeypatch.setattr(source, "ANSWER_SECONDS", 0.5)
    gcp.open.clear()
    before = time.monotonic()
    found = problems()
    seconds = time.monotonic() - before
    gcp.open.set()
    assert all("no answer within 0.5 seconds" in found[name].problem for name in ("OPENAI_API_KEY", "CRM_TOKEN"))
    assert seconds < 0.9


def test_a_secret_of_google_without_a_version_is_named(gcp: Answers) -> None:
    del gcp.answers[f"{LISTED}/crm_token/versions/latest:access"]
    assert problems()["CRM_TOKEN"].problem == "its secret crm_token has no version: add one"


def test_a_list_that_google_refuses_is_told_with_what_to_grant(gcp: Answers) -> None:
    gcp.give(LISTED, DENIED, 403)
    told = problems()["GOOGLE_CLOUD_PROJECT"]
    assert told.problem.startswith("the secrets of the Google project my-project cannot be listed: 403")
    assert told.example == "grant roles/secretmanager.viewer on the project"


def test_no_credentials_for_google_are_one_sentence(gcp: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS")
    told = problems()["GOOGLE_CLOUD_PROJECT"]
    assert "cannot be listed: Your default credentials were not found" in told.problem
    assert told.example.endswith("gcloud auth application-default login")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate of this machine: Azure's library sends no token without TLS."""
    key, name = _private_key(), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("certificate") / "both.pem"
    path.write_bytes(_pem(key) + made.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.fixture
def azure(answers: Answers, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Answers]:
    """A vault with a few secrets, and a managed identity as App Service and Container Apps have it."""
    with Answers(certificate) as vault:
        set_all(monkeypatch, SECRETS="azure", AZURE_KEY_VAULT_URL=vault.url, REQUESTS_CA_BUNDLE=str(certificate))
        set_all(monkeypatch, IDENTITY_ENDPOINT=f"{answers.url}/identity", IDENTITY_HEADER="header")
        resource = vault.url.replace("127.", "")  # the library wants a part of the vault's name
        token = {"access_token": "token", "expires_on": str(int(time.time()) + 3_600), "token_type": "Bearer"}
        answers.give("/identity", {**token, "resource": resource})
        challenge = f'Bearer authorization="{vault.url}/tenant", resource="{resource}"'
        held = {"OPENAI-API-KEY": f"{KEY}\n", "crm-token": "t", "something-else": "x"}
        listed = [{"id": f"{vault.url}/secrets/{name}", "attributes": {"enabled": True}} for name in held]
        vault.give("/secrets", {"value": listed}, challenge=challenge)
        for name, value in held.items():
            vault.give(
                f"/secrets/{name}/", {"id": f"{vault.url}/secrets/{name}/1", "value": value}, challenge=challenge
            )
        yield vault


def test_each_secret_of_a_vault_is_a_variable_with_dashes(azure: Answers) -> None:
    assert (openai_key(), Team.load().crm_token.get_secret_value()) == (KEY, "t")


def test_a_vault_is_asked_once_and_for_what_is_needed_alone(azure: Answers) -> None:
    for _ in range(2):
        assert openai_key() == KEY
        Team.load()
    # The first request brings the challenge, without which the library sends no token.
    assert azure.asked == ["/secrets", "/secrets", "/secrets/OPENAI-API-KEY/", "/secrets/crm-token/"]


FORBIDDEN = {"error": {"code": "Forbidden", "message": "The user does not have secrets get permission"}}


def test_one_refused_secret_of_a_vault_is_named(azure: Answers) -> None:
    azure.give("/secrets/crm-token/", FORBIDDEN, 403)
    told = problems()["CRM_TOKEN"].problem
    assert told == "its secret crm-token cannot be read: (Forbidden) The user does not have secrets get permission"


def test_a_vault_that_refuses_is_told_with_what_to_assign(azure: Answers) -> None:
    azure.give("/secrets", FORBIDDEN, 403)
    told = problems()["AZURE_KEY_VAULT_URL"]
    assert told.problem.startswith(f"the vault {azure.url} cannot be listed: (Forbidden)")
    assert told.example == "assign the role Key Vault Secrets User"


def test_no_credentials_for_azure_are_one_sentence(
    azure: Answers, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in ("IDENTITY_ENDPOINT", "IDENTITY_HEADER"):
        monkeypatch.delenv(name)
    told = problems()["AZURE_KEY_VAULT_URL"]
    assert told.problem.startswith(f"the vault {azure.url} cannot be listed: ")
    assert "\n" not in told.problem
    assert capfd.readouterr().err == ""


def test_a_vault_that_cannot_be_reached_is_one_sentence(azure: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_KEY_VAULT_URL", CLOSED.replace("http", "https"))
    told = problems()["AZURE_KEY_VAULT_URL"].problem
    assert told.startswith("the vault https://127.0.0.1:9 cannot be listed: ")
    assert "\n" not in told
