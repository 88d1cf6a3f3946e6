"""Who may ask the gateway, as whom, and how often: API keys, tokens of a real issuer, the rate limit."""

import base64
import json
import time
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, Self

import httpx
import jwt
import psutil
import pytest
from crewyard_runtime.api import oidc
from crewyard_runtime.api.problems import Refused
from crewyard_runtime.identity import Principal, make_user_id
from crewyard_runtime.settings import ServiceSettings
from crewyard_runtime.store import Database, keys
from crewyard_runtime.testing.servers import Postgres
from crewyard_runtime.testing.service import new_database
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from runtime.gateways import Gateway, free_port, make_key, until
from sqlalchemy import text

AUDIENCE = "mail service"
OLD, NEW = (rsa.generate_private_key(65_537, 2_048) for _ in range(2))
CURVE = ec.generate_private_key(ec.SECP256R1())


class Issuer:
    """An OIDC issuer: its configuration and its keys, over HTTP. asked: the paths of all requests."""

    def __init__(self, port: int | None = None) -> None:
        self.asked: list[str] = []
        self.keys: dict[str, Any] = {"old": OLD}
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked.append(self.path)
                found = json.dumps(issuer.answer(self.path)).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(found)))
                self.end_headers()
                self.wfile.write(found)

            def log_message(self, *arguments: Any) -> None: ...

        self._address = ("127.0.0.1", port or free_port())
        self._handler = Handler
        self.url = f"http://127.0.0.1:{self._address[1]}/realms/main"

    def __enter__(self) -> Self:
        self._server = ThreadingHTTPServer(self._address, self._handler)
        Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, path: str) -> Any:
        """The document at a path."""
        if path == "/realms/main/.well-known/openid-configuration":
            return {"issuer": self.url, "jwks_uri": f"{self.url}/keys"}
        return {"keys": [jwk(key.public_key(), name) for name, key in self.keys.items()]}

    def token(self, key: Any = OLD, name: str | None = "old", algorithm: str = "RS256", **claims: Any) -> str:
        """A token; a claim that is None is left out."""
        now = int(time.time())
        usual = {"iss": self.url, "aud": AUDIENCE, "sub": "alice", "iat": now, "exp": now + 60}
        content = {claim: value for claim, value in (usual | claims).items() if value is not None}
        return jwt.encode(content, key, algorithm, {} if name is None else {"kid": name})


def jwk(key: Any, name: str) -> dict[str, Any]:
    """A public key as an issuer publishes it."""
    kind = jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPublicKey) else jwt.algorithms.ECAlgorithm
    return {**kind.to_jwk(key, as_dict=True), "kid": name, "use": "sig"}


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with Issuer() as made:
        yield made


@pytest.fixture(scope="module")
def by_token(
    postgres: Postgres, empty_database: str, issuer: Issuer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    """A gateway that takes tokens."""
    variables = {"AUTH": "oidc", "OIDC_ISSUER": issuer.url, "OIDC_AUDIENCE": AUDIENCE}
    database = new_database(postgres.url, empty_database)
    with Gateway(tmp_path_factory.mktemp("by-token"), database, variables) as made:
        yield made


@pytest.fixture(scope="module")
def by_key(postgres: Postgres, empty_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway that takes API keys."""
    database = new_database(postgres.url, empty_database)
    with Gateway(tmp_path_factory.mktemp("by-key"), database, {"REQUESTS_PER_MINUTE": "10"}) as made:
        yield made


def get(gateway: Gateway, authorization: str | None, **headers: str) -> httpx.Response:
    """The list of runs, asked for with this credential."""
    given = {} if authorization is None else {"Authorization": authorization}
    return httpx.get(f"{gateway.url}/runs", headers={**given, **headers}, trust_env=False)


def assert_refused(response: httpx.Response) -> None:
    """A 401 says how to authenticate, and that it is a problem."""
    assert response.status_code == 401
    assert response.headers["www-authenticate"].startswith("Bearer")
    assert response.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "authorization", [None, "", "Bearer", "Basic YTpi", "Bearer x", "Bearer cy_x_y", "Bearer cy__", "cy_x_y"]
)
def test_a_request_without_a_valid_key_is_refused(by_key: Gateway, authorization: str | None) -> None:
    assert_refused(get(by_key, authorization))


def test_a_key_that_was_revoked_is_refused(by_key: Gateway) -> None:
    key = make_key(by_key.database_url)
    assert get(by_key, f"bearer  {key}").status_code == 200
    assert_refused(get(by_key, f"Bearer {key}x"))
    database = Database(by_key.database_url, 1)
    with database.transaction() as tx:
        assert keys.revoke(tx, key)
    database.close()
    assert_refused(get(by_key, f"Bearer {key}"))


def test_nothing_of_a_stranger_is_read(by_key: Gateway) -> None:
    response = httpx.post(f"{by_key.url}/runs/mail", content=b"{", headers={"Content-Type": "application/json"})
    assert_refused(response)


def test_keys_of_one_owner_are_one_user(by_key: Gateway) -> None:
    first, second = (by_key.client(make_key(by_key.database_url, "carol")) for _ in range(2))
    with first, second:
        run = first.post("/runs/mail", json={"text": "a"}).json()
        assert second.get(f"/runs/{run['id']}").json() == run


@pytest.mark.parametrize("subject", ["dave", "a|b*", "Zoë", "x" * 255])
def test_a_service_acts_for_its_own_users(by_key: Gateway, subject: str) -> None:
    owner = uuid.uuid4().hex
    key = make_key(by_key.database_url, owner, may_act_for=True)
    service = Principal(make_user_id("key", keys.ISSUER, owner), "")
    with by_key.client(key) as client:
        user = {b"On-Behalf-Of": subject.encode()}
        run = client.post("/runs/mail", json={"text": "a"}, headers=user).json()
        assert run["user_id"] == service.acting_for(subject).user_id
        assert client.get(f"/runs/{run['id']}", headers=user).status_code == 200
        assert client.get(f"/runs/{run['id']}").status_code == 404


@pytest.mark.parametrize("subject", [b"", b"x" * 256, b"\xff"])
def test_a_subject_that_is_no_name_is_refused(by_key: Gateway, subject: bytes) -> None:
    with by_key.client(make_key(by_key.database_url, may_act_for=True)) as client:
        assert client.get("/runs", headers={b"On-Behalf-Of": subject}).status_code == 422


@pytest.mark.parametrize("operator", [False, True])
def test_who_may_not_act_for_others_is_refused(by_key: Gateway, operator: bool) -> None:
    with by_key.client(make_key(by_key.database_url, operator=operator)) as client:
        response = client.post("/runs/mail", json={"text": "a"}, headers={"On-Behalf-Of": "erin"})
        assert response.status_code == 403
    database = Database(by_key.database_url, 1)
    with database.transaction() as tx:
        written = "SELECT count(*) FROM runs WHERE request_id = :id"
        assert tx.execute(text(written), {"id": response.headers["x-request-id"]}).scalar() == 0
    database.close()


def test_an_operator_finds_all_runs(by_key: Gateway) -> None:
    with by_key.client() as user, by_key.client(make_key(by_key.database_url, operator=True)) as operator:
        run = user.post("/runs/mail", json={"text": "a"}).json()
        assert operator.get(f"/runs/{run['id']}").json() == run
        assert operator.get("/runs?limit=1").json()["items"][0]["id"] == run["id"]
        assert operator.post(f"/runs/{run['id']}/cancel").json()["status"] == "cancelled"
        assert operator.post(f"/runs/{run['id']}/retry").json()["status"] == "queued"
        assert user.get(f"/runs/{run['id']}").json()["user_id"] == run["user_id"]


def test_one_request_too_many_has_to_wait(by_key: Gateway) -> None:
    with by_key.client() as user, by_key.client() as other:
        statuses = [user.get("/runs").status_code for _ in range(9)]
        statuses.append(user.post("/runs/mail", json={"text": ""}).status_code)
        assert statuses == [200] * 9 + [422]
        response = user.get("/runs")
        assert response.status_code == 429
        assert 1 <= int(response.headers["retry-after"]) <= 6
        assert response.json()["title"] == "Too Many Requests"
        assert user.get("/healthz").status_code == 200
        assert other.get("/runs").status_code == 200


def test_the_limit_is_that_of_the_user_who_is_acted_for(by_key: Gateway) -> None:
    with by_key.client(make_key(by_key.database_url, may_act_for=True)) as client:
        first = [client.get("/runs", headers={"On-Behalf-Of": "a"}).status_code for _ in range(11)]
        assert first == [200] * 10 + [429]
        assert client.get("/runs", headers={"On-Behalf-Of": "b"}).status_code == 200
        assert client.get("/runs").status_code == 200


def test_the_limit_holds_over_all_processes(postgres: Postgres, empty_database: str, tmp_path: Path) -> None:
    database = new_database(postgres.url, empty_database)
    with Gateway(tmp_path, database, {"REQUESTS_PER_MINUTE": "10"}, workers=4) as gateway:
        authorization = f"Bearer {make_key(database)}"
        workers = [each for each in gateway.processes()[1:] if "spawn_main" in " ".join(each.cmdline())]
        assert len(workers) == 4
        statuses = []
        for worker in workers:
            # Whoever is not stopped answers, so each process has its share.
            others = [other for other in workers if other != worker]
            _each(others, "suspend")
            statuses += [get(gateway, authorization).status_code for _ in range(4)]
            _each(others, "resume")
        assert sorted(statuses) == [200] * 10 + [429] * 6


def _each(processes: list[psutil.Process], action: str) -> None:
    for process in processes:
        getattr(process, action)()


def test_a_token_is_its_subject(by_token: Gateway, issuer: Issuer) -> None:
    token = issuer.token(sub="a|b*'", aud=["another", AUDIENCE])
    with by_token.client(token) as user, by_token.client(issuer.token()) as other:
        run = user.post("/runs/mail", json={"text": "a"}).json()
        assert run["user_id"] == make_user_id("oidc", issuer.url, "a|b*'")
        assert user.get(f"/runs/{run['id']}").status_code == 200
        assert other.get(f"/runs/{run['id']}").status_code == 404
        assert user.get("/runs", headers={"On-Behalf-Of": "x"}).status_code == 403


def _unsigned(token: str) -> str:
    header = base64.urlsafe_b64encode(b'{"alg":"none","kid":"old"}').rstrip(b"=").decode()
    return f"{header}.{token.split('.')[1]}."


def _signed_with_the_public_key(issuer: Issuer) -> str:
    """A token whose HMAC is made with what everybody knows; PyJWT refuses to make one."""
    public = OLD.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    algorithm = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    header = base64.urlsafe_b64encode(b'{"alg":"HS256","kid":"old"}').rstrip(b"=").decode()
    signed = f"{header}.{issuer.token().split('.')[1]}"
    signature = base64.urlsafe_b64encode(algorithm.sign(signed.encode(), public)).rstrip(b"=").decode()
    return f"{signed}.{signature}"


def bad_tokens(issuer: Issuer) -> dict[str, str]:
    """Tokens that are not valid, by what is wrong with them."""
    now = int(time.time())
    deep = base64.urlsafe_b64encode(b"[" * 20_000).rstrip(b"=").decode()
    return {
        "expired": issuer.token(exp=now - 1),
        "not yet valid": issuer.token(nbf=now + 60),
        "another issuer": issuer.token(iss="https://example.com"),
        "another audience": issuer.token(aud="another"),
        "no audience": issuer.token(aud=None),
        "no subject": issuer.token(sub=None),
        "no expiry": issuer.token(exp=None),
        "no time of issue": issuer.token(iat=None),
        "no issuer": issuer.token(iss=None),
        "a number as subject": issuer.token(sub=None) and _numbered(issuer),
        "another's signature": issuer.token(key=NEW),
        "an unknown key": issuer.token(key=NEW, name="unknown"),
        "another algorithm": issuer.token(algorithm="RS512"),
        "a curve": issuer.token(key=CURVE, algorithm="ES256"),
        "no signature": _unsigned(issuer.token()),
        "the public key": _signed_with_the_public_key(issuer),
        "changed": issuer.token()[:-8] + "AAAAAAAA",
        "deep": f"{deep}.e30.e30",
        "no token": "a.b.c",
        "an API key": "cy_abc_def",
    }


def _numbered(issuer: Issuer) -> str:
    return jwt.PyJWS().encode(
        json.dumps({"iss": issuer.url, "aud": AUDIENCE, "sub": 7, "iat": 1, "exp": time.time() + 60}).encode(),
        OLD,
        "RS256",
        {"kid": "old"},
    )


def test_a_token_that_is_not_valid_is_refused(by_token: Gateway, issuer: Issuer) -> None:
    assert get(by_token, f"Bearer {issuer.token()}").status_code == 200
    taken = [name for name, token in bad_tokens(issuer).items() if get(by_token, f"Bearer {token}").status_code != 401]
    assert taken == []
    assert_refused(get(by_token, f"Bearer {issuer.token(exp=1)}"))


def test_a_token_without_the_name_of_a_key_is_checked_with_the_only_one(by_token: Gateway, issuer: Issuer) -> None:
    assert get(by_token, f"Bearer {issuer.token(name=None)}").status_code == 200


def test_made_up_keys_do_not_become_requests_to_the_issuer(by_token: Gateway, issuer: Issuer) -> None:
    assert get(by_token, f"Bearer {issuer.token()}").status_code == 200
    before = len(issuer.asked)
    for number in range(30):
        assert_refused(get(by_token, f"Bearer {issuer.token(name=f'made-up-{number}')}"))
    assert len(issuer.asked) - before <= 1


def test_a_new_key_of_the_issuer_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oidc, "CALM_SECONDS", 0.2)
    with Issuer() as issuer:
        tokens = oidc.Tokens(settings_for(issuer.url))
        assert tokens.find(issuer.token()) is not None
        issuer.keys = {"new": NEW, "curve": CURVE}
        token = issuer.token(key=NEW, name="new")
        found = until("the new key", lambda: tokens.find(token), 5)
        assert found.user_id == make_user_id("oidc", issuer.url, "alice")
        assert tokens.find(issuer.token()) is None
        assert tokens.find(issuer.token(key=CURVE, name="curve", algorithm="ES256")) is None


def test_the_keys_are_kept_while_the_issuer_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oidc, "FRESH_SECONDS", 0)
    monkeypatch.setattr(oidc, "CALM_SECONDS", 0)
    with Issuer() as issuer:
        tokens = oidc.Tokens(settings_for(issuer.url))
        assert tokens.find(issuer.token()) is not None
        asked = len(issuer.asked)
        assert tokens.find(issuer.token()) is not None
        assert len(issuer.asked) == asked + 1
    assert tokens.find(issuer.token()) is not None


def test_nobody_is_admitted_before_the_issuer_answers(postgres: Postgres, empty_database: str, tmp_path: Path) -> None:
    issuer = Issuer(port := free_port())
    variables = {"AUTH": "oidc", "OIDC_ISSUER": issuer.url, "OIDC_AUDIENCE": AUDIENCE}
    with Gateway(tmp_path, new_database(postgres.url, empty_database), variables) as gateway:
        response = get(gateway, f"Bearer {issuer.token()}")
        assert response.status_code == 503
        assert response.headers["retry-after"] == "1"
        assert "issuer" in response.json()["detail"]
        with Issuer(port) as issuer:
            until("the issuer", lambda: get(gateway, f"Bearer {issuer.token()}").status_code == 200)


def test_an_issuer_of_another_name_is_not_taken() -> None:
    with Issuer() as issuer:
        tokens = oidc.Tokens(settings_for(f"{issuer.url}/"))
        with pytest.raises(Refused, match="issuer"):
            tokens.find(issuer.token())


def settings_for(issuer: str) -> ServiceSettings:
    """Settings that take the tokens of an issuer."""
    return ServiceSettings(auth="oidc", oidc_issuer=issuer, oidc_audience=AUDIENCE)
