"""A small HTTP server with GitLab's generic packages as its documentation tells of them; no package holds GitLab itself."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

TOKEN = "glpat-throw-away"
_FILE = re.compile(r"/packages/generic/([^/]+)/([^/]+)/([^/]+)")
_PAGE = 2  # entries: so that lists have pages


@dataclass
class GitLab:
    """One project. ``files`` are (package, version, name, contents) in the order in which they came."""

    project: str = "team/models"
    files: list[tuple[str, str, str, bytes]] = field(default_factory=list)
    seen: list[tuple[str, str, str]] = field(default_factory=list)
    storage: str = ""
    port: int = 0
    broken: int = 0

    @property
    def url(self) -> str:
        """As publish takes it."""
        return f"gitlab://127.0.0.1:{self.port}/{self.project}"

    def versions(self) -> list[tuple[str, str]]:
        """The packages; one's place in the list is its number."""
        return list(dict.fromkeys((package, version) for package, version, _, _ in self.files))

    def listed(self, asked: dict[str, list[str]]) -> list[dict[str, Any]]:
        """The packages that a search finds: names that hold what is asked for."""
        wanted = asked.get("package_name", [""])[0], asked.get("package_version", [""])[0]
        return [
            {"id": n, "name": name, "version": version, "package_type": "generic"}
            for n, (name, version) in enumerate(self.versions()) if wanted[0] in name and wanted[1] in {"", version}
        ]  # fmt: skip

    def inside(self, number: int) -> list[dict[str, Any]]:
        """The files of a package."""
        return [
            {"id": n, "file_name": name, "size": len(data), "file_sha256": hashlib.sha256(data).hexdigest()}
            for n, (package, version, name, data) in enumerate(self.files) if (package, version) == self.versions()[number]
        ]  # fmt: skip


@contextmanager
def running(gitlab: GitLab | None = None) -> Iterator[GitLab]:
    """For the time of a test."""
    found = gitlab or GitLab()

    class Handler(_Handler):
        there = found

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    found.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    there: GitLab
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the base class names it
        """Silent."""

    def do_GET(self) -> None:
        if self._refused():
            return
        parts = urlsplit(self.path)
        file = _FILE.search(parts.path)
        packed = re.search(r"/packages/(\d+)/package_files$", parts.path)
        if file:
            self._file(*map(unquote, file.groups()))
        elif packed:
            self._page(self.there.inside(int(packed[1])), parts.path, parse_qs(parts.query))
        else:
            self._page(self.there.listed(parse_qs(parts.query)), parts.path, parse_qs(parts.query))

    def do_PUT(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        file = _FILE.search(self.path)
        if self._refused():
            return
        if self.there.broken:
            self.there.broken -= 1
            self._answer(502, b"bad gateway")
            return
        assert file
        package, version, name = map(unquote, file.groups())
        self.there.files.append((package, version, name, data))
        self._answer(201, b'{"message": "201 Created"}')

    def _refused(self) -> bool:
        token = self.headers.get("PRIVATE-TOKEN") or self.headers.get("JOB-TOKEN") or ""
        self.there.seen.append((self.command, self.path, token))
        if token == TOKEN:
            return False
        self._answer(401, b'{"message": "401 Unauthorized"}')
        return True

    def _file(self, package: str, version: str, name: str) -> None:
        found = [data for *place, data in self.there.files if place == [package, version, name]]
        if found and self.there.storage:
            self._answer(302, b"", {"Location": f"{self.there.storage}/{package}/{version}/{name}"})
        else:
            self._answer(200 if found else 404, found[-1] if found else b'{"message": "404 Not Found"}')

    def _page(self, entries: list[dict[str, Any]], path: str, asked: dict[str, list[str]]) -> None:
        page = int(asked.get("page", ["1"])[0])
        query = "&".join(f"{name}={value[0]}" for name, value in asked.items() if name != "page")
        more = {"Link": f'<http://127.0.0.1:{self.there.port}{path}?{query}&page={page + 1}>; rel="next"'}
        self._answer(
            200, json.dumps(entries[(page - 1) * _PAGE : page * _PAGE]).encode(), more if len(entries) > page * _PAGE else {}
        )

    def _answer(self, status: int, data: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
