"""A real OCI registry on loopback (Debian's docker-registry), and a proxy before it that fails as lines and servers fail."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal

import pytest

PROGRAM = "docker-registry"
PASSWORD = "correct horse"
HASHED = "maintainer:$2b$04$kihRZIGbkl6kBBuVAKHxjOS7lm4cbyl.6/gNc4OjoWEx7ge0cdqVm\n"
"""bcrypt's of the password, as htpasswd writes it."""


def free_port() -> int:
    """A port of loopback that nobody has at the moment."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


class Registry:
    """A registry with a folder and a port of its own; it can be killed and started again, and knows its uploads then."""

    def __init__(self, folder: Path, auth: Mapping[str, Any] | None = None) -> None:
        self.folder, self.port = folder, free_port()
        folder.mkdir(parents=True)
        config: dict[str, Any] = {
            "version": 0.1, "log": {"level": "error", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": str(folder / "data")}, "delete": {"enabled": True}},
            "http": {"addr": f"127.0.0.1:{self.port}", "secret": "throw-away"},
        }  # fmt: skip
        (folder / "config.yml").write_text(json.dumps(config | ({"auth": auth} if auth else {})))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def host(self) -> str:
        """As in ``oci://``."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Return when it answers."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen([PROGRAM, "serve", self.folder / "config.yml"], stdout=log, stderr=log)
        until = time.monotonic() + 20
        while not _answers(self.port):
            assert self._process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < until, "the registry does not answer"
            time.sleep(0.02)

    def kill(self) -> None:
        """As a power cut does."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def blobs(self) -> set[str]:
        """The digests of all blobs that it keeps, whole."""
        return {f"sha256:{path.parent.name}" for path in (self.folder / "data").glob("**/blobs/sha256/*/*/data")}

    def corrupt(self, digest: str) -> None:
        """Change a byte of a blob behind its back."""
        path = next((self.folder / "data").glob(f"**/blobs/sha256/*/{digest.removeprefix('sha256:')}/data"))
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


@contextmanager
def running(folder: Path, auth: Mapping[str, Any] | None = None) -> Iterator[Registry]:
    """A registry for the time of a test."""
    if not shutil.which(PROGRAM):
        pytest.skip("docker-registry is not installed; .ci/run names its package")
    made = Registry(folder, auth)
    made.start()
    try:
        yield made
    finally:
        made.kill()


def htpasswd(folder: Path) -> dict[str, Any]:
    """``auth`` of a registry that wants a name and a password."""
    (folder / "htpasswd").write_text(HASHED)
    return {"htpasswd": {"realm": "models", "path": str(folder / "htpasswd")}}


Action = Literal["lie", "unknown", "refuse", "busy", "wait", "reset", "lose", "truncate", "wrong"]


@dataclass
class Fault:
    """What the proxy does to the first ``times`` requests whose ``METHOD path`` matches, after ``after`` that matched.

    ``refuse``: 403. ``unknown``: 405. ``busy``: 500. ``wait``: 429 with Retry-After. ``reset``: the connection breaks before the
    registry hears of it. ``lose``: it breaks before the answer. ``truncate``: half of the answer. ``wrong``: an answer with one
    byte changed. ``lie``: another length of what is there.
    """

    action: Action
    where: str
    times: int = 1
    after: int = 0
    seen: int = 0


@dataclass
class Asked:
    """One request that came by: bytes of its body, and the status that went back (0: none)."""

    method: str
    path: str
    size: int
    status: int = 0


@dataclass
class Proxy:
    """``host`` leads to the registry; ``asked`` is what came by.

    With ``referrers`` it stands for a registry that has the referrers API of OCI 1.1, which Debian's does not: it keeps the
    lists, and gives them out two by two.
    """

    registry: Registry
    faults: list[Fault] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    port: int = 0
    referrers: dict[str, list[dict[str, Any]]] | None = None
    guard: threading.Lock = field(default_factory=threading.Lock)

    @property
    def host(self) -> str:
        """As in ``oci://``."""
        return f"127.0.0.1:{self.port}"

    def sent(self, where: str = "(PUT|PATCH|POST) .*/blobs/uploads/") -> int:
        """Bytes of bodies that reached the registry and were taken."""
        return sum(one.size for one in self.asked if re.match(where, f"{one.method} {one.path}") and 200 <= one.status < 300)

    def count(self, where: str) -> int:
        """How many requests."""
        return sum(bool(re.match(where, f"{one.method} {one.path}")) for one in self.asked)

    def fault(self, method: str, path: str) -> Action | None:
        """What to do to this request."""
        with self.guard:
            for one in self.faults:
                if re.match(one.where, f"{method} {path}"):
                    one.seen += 1
                    if one.after < one.seen <= one.after + one.times:
                        return one.action
        return None


@contextmanager
def proxied(registry: Registry, *faults: Fault) -> Iterator[Proxy]:
    """A proxy for the time of a test."""
    made = Proxy(registry, list(faults))

    class Handler(_Handler):
        proxy = made

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    made.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


_STATUS: dict[str | None, int] = {"busy": 500, "wait": 429, "refuse": 403, "unknown": 405}


class _Handler(BaseHTTPRequestHandler):
    proxy: Proxy
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the base class names it
        """Silent."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self._handle
        raise AttributeError(name)

    def _handle(self) -> None:
        try:
            self._pass_on()
        except OSError:  # the client, or the registry, is gone
            self.close_connection = True

    def _pass_on(self) -> None:
        fault = self.proxy.fault(self.command, self.path)
        if fault == "reset":
            self._break()
            return
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        asked = Asked(self.command, self.path, len(body))
        self.proxy.asked.append(asked)
        if fault in _STATUS:
            asked.status = _STATUS[fault]
            self._answer(
                asked.status,
                {"Retry-After": "0"} if fault == "wait" else {},
                b'{"errors": [{"code": "UNKNOWN", "message": "no"}]}',
            )
            return
        if self.proxy.referrers is not None and "/referrers/" in self.path:
            self._list(self.proxy.referrers)
            return
        answer, data = self._forward(body)
        asked.status = answer.status
        if fault == "lose":
            self._break()
        elif fault == "truncate":
            self._answer(answer.status, dict(answer.getheaders()), data[: len(data) // 2])
            self._break()
        else:
            headers = dict(answer.getheaders()) | self._subject(body)
            if fault == "lie" and answer.status == 200:
                headers["Content-Length"] = str(int(headers["Content-Length"]) + 1)
            self._answer(answer.status, headers, _changed(data) if fault == "wrong" else data)

    def _subject(self, body: bytes) -> dict[str, str]:
        """The header by which a registry with the referrers API says that it has listed a manifest."""
        listed = self.proxy.referrers
        value = json.loads(body) if listed is not None and self.command == "PUT" and "/manifests/" in self.path else {}
        if listed is None or "subject" not in value:
            return {}
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        about = {"artifactType": value["artifactType"], "annotations": value.get("annotations", {})}
        entries = listed.setdefault(value["subject"]["digest"], [])
        if digest not in {one["digest"] for one in entries}:
            entries.append({"mediaType": value["mediaType"], "digest": digest, "size": len(body), **about})
        return {"OCI-Subject": value["subject"]["digest"]}

    def _list(self, listed: dict[str, list[dict[str, Any]]]) -> None:
        path, _, page = self.path.partition("?page=")
        start, entries = 2 * int(page or 0), listed.get(path.rpartition("/")[2], [])
        index = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": entries[start : start + 2],
        }
        more = {"Link": f'<{path}?page={start // 2 + 1}>; rel="next"'} if len(entries) > start + 2 else {}
        self._answer(200, more, json.dumps(index).encode())

    def _forward(self, body: bytes) -> tuple[HTTPResponse, bytes]:
        connection = HTTPConnection("127.0.0.1", self.proxy.registry.port, timeout=60)
        try:
            connection.request(self.command, self.path, body or None, {**dict(self.headers), "Content-Length": str(len(body))})
            answer = connection.getresponse()
            return answer, answer.read()
        finally:
            connection.close()

    def _answer(self, status: int, headers: Mapping[str, str], data: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in {"transfer-encoding", "connection", "date"}:
                self.send_header(name, value)
        if not any(name.lower() == "content-length" for name in headers) and status != 204:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _break(self) -> None:
        """A reset, not an orderly end."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()


def _changed(data: bytes) -> bytes:
    """The same with one byte that is another, which keeps JSON what it is."""
    place = data.rfind(b"a")
    return data[:place] + b"b" + data[place + 1 :] if place >= 0 else data
