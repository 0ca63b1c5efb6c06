"""A registry that sends its users to a server of tokens, as large ones do: the real registry, and a small server of tokens."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

import outgoing as made
import registry as registries
from ortolan.errors import OrtolanError
from ortolan.release.publish.address import parse
from ortolan.release.publish.outgoing import outgoing
from ortolan.release.publish.patience import Patience
from ortolan.release.publish.registry import Registry as Store
from ortolan.release.publish.upload import Sessions

QUICK = Patience(tries=3, first=0.001, longest=0.01)
REFRESH = "refresh-token-of-the-maintainer"


@dataclass
class Tokens:
    """Hands out tokens that the registry believes, to who has the password or the refresh token; ``life`` in seconds."""

    folder: Path
    life: int = 300
    asked: list[dict[str, Any]] = field(default_factory=list)
    port: int = 0

    def __post_init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tokens")])
        now = datetime.now(UTC)
        self.certificate = (
            x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(self.key.public_key())
            .serial_number(1).not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True).sign(self.key, hashes.SHA256())
        )  # fmt: skip
        (self.folder / "bundle.pem").write_bytes(self.certificate.public_bytes(Encoding.PEM))

    def auth(self) -> dict[str, Any]:
        """Of the registry's configuration."""
        where = f"http://127.0.0.1:{self.port}/token"
        return {
            "token": {"realm": where, "service": "models", "issuer": "tokens", "rootcertbundle": str(self.folder / "bundle.pem")}
        }

    def made(self, scopes: list[str]) -> str:
        """A JWT with the access that was asked for."""
        parts = [one.split(":") for one in scopes]
        access = [{"type": kind, "name": name, "actions": actions.split(",")} for kind, name, actions in parts]
        now = datetime.now(UTC)
        claims = {
            "iss": "tokens", "aud": "models", "sub": "maintainer", "access": access, "jti": str(len(self.asked)),
            "nbf": now - timedelta(seconds=60), "iat": now, "exp": now + timedelta(seconds=self.life),
        }  # fmt: skip
        chain = [base64.b64encode(self.certificate.public_bytes(Encoding.DER)).decode()]
        return jwt.encode(claims, self.key, algorithm="ES256", headers={"x5c": chain})


@pytest.fixture
def tokens(tmp_path: Path) -> Iterator[Tokens]:
    found = Tokens(tmp_path)

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the base class names it
            """Silent."""

        def do_GET(self) -> None:
            basic = base64.b64encode(f"maintainer:{registries.PASSWORD}".encode()).decode()
            self._answer(parse_qs(urlsplit(self.path).query), ok=self.headers.get("Authorization") == f"Basic {basic}")

        def do_POST(self) -> None:
            form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self._answer({**form, "scope": form.get("scope", [""])[0].split()}, ok=form.get("refresh_token") == [REFRESH])

        def _answer(self, asked: dict[str, Any], *, ok: bool) -> None:
            found.asked.append(asked)
            name = "token" if self.command == "GET" else "access_token"
            body = json.dumps({name: found.made(asked.get("scope", []))} if ok else {"message": "who are you?"}).encode()
            self.send_response(200 if ok else 401)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


def login(monkeypatch: pytest.MonkeyPatch, folder: Path, host: str, record: dict[str, str]) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"auths": {host: record}}))
    monkeypatch.setenv("DOCKER_CONFIG", str(folder))


def password(text: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"maintainer:{text}".encode()).decode()}


@pytest.mark.parametrize("record", [password(registries.PASSWORD), {"identitytoken": REFRESH}], ids=["password", "identity"])
def test_a_token_lets_in(tokens: Tokens, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record: dict[str, str]) -> None:
    release = outgoing(made.release(tmp_path))
    with registries.running(tmp_path / "r", tokens.auth()) as server:
        login(monkeypatch, tmp_path / "docker", server.host, record)
        at = Store(parse(f"oci://{server.host}/models"), Sessions(tmp_path / "uploads"), made.quiet, QUICK)
        done = at.publish(release)
        assert at.publish(release).digest == done.digest
    asked = {scope.rpartition(":")[2] for one in tokens.asked for scope in one["scope"]}
    assert asked <= {"pull", "pull,push", "push,pull"}
    assert len(asked) > 1
    assert len(tokens.asked) <= 2 * 4  # two publishes, each at first for reading and then for writing, with some threads at once


def test_a_token_that_ran_out_is_asked_for_again(tokens: Tokens, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens.life = -120  # beyond the registry's leeway: each is refused
    release = outgoing(made.release(tmp_path))
    with registries.running(tmp_path / "r", tokens.auth()) as server:
        login(monkeypatch, tmp_path / "docker", server.host, password(registries.PASSWORD))
        at = Store(parse(f"oci://{server.host}/models"), Sessions(tmp_path / "uploads"), made.quiet, QUICK)
        with pytest.raises(OrtolanError, match="401"):
            at.publish(release)
        tokens.life = 300
        assert at.publish(release).sent


def test_who_has_no_token_is_told_where_to_log_in(tokens: Tokens, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    release = outgoing(made.release(tmp_path))
    with registries.running(tmp_path / "r", tokens.auth()) as server:
        login(monkeypatch, tmp_path / "docker", server.host, password("wrong password"))
        at = Store(parse(f"oci://{server.host}/models"), Sessions(tmp_path / "uploads"), made.quiet, QUICK)
        with pytest.raises(OrtolanError, match=r"(?s)no token for 127.0.0.1.*who are you\?.*docker login 127.0.0.1") as caught:
            at.publish(release)
    assert "wrong password" not in str(caught.value)
    assert base64.b64encode(b"maintainer:wrong password").decode() not in str(caught.value)
