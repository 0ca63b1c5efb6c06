"""A loopback server for one job in a browser: the page, onnxruntime-web, the model; it takes the answer that the page posts."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

ISOLATION = {"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp"}
"""Without these headers a page has no SharedArrayBuffer, and so WebAssembly no threads."""

_TYPES = {".html": "text/html", ".mjs": "text/javascript", ".js": "text/javascript", ".wasm": "application/wasm"}


class Server(ThreadingHTTPServer):
    """Serves ``files`` (``{path: file}``) and whatever lies in ``dist``; ``done`` is set when the page has answered or failed."""

    daemon_threads = True

    def __init__(self, files: Mapping[str, Path], dist: Path, headers: Mapping[str, str]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files, self.dist, self.headers = files, dist, headers
        self.fetched: set[str] = set()
        self.answer: bytes | None = None
        self.failure = ""
        self.about: dict[str, Any] = {}
        self.done = threading.Event()

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://127.0.0.1:{self.server_port}/"

    def find(self, path: str) -> Path | None:
        """The file that a path names."""
        if path in self.files:
            return self.files[path]
        folder, _, name = path.rpartition("/")
        if folder == "/dist" and name in {file.name for file in self.dist.iterdir()}:
            self.fetched.add(name)
            return self.dist / name
        return None

    def take(self, path: str, body: bytes) -> None:
        """What the page posts."""
        if path == "/about":
            self.about = json.loads(body)
            return
        if path == "/answer":
            self.answer = body
        else:
            self.failure = self.failure or body.decode("utf-8", "replace")
        self.done.set()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        file = self.server.find(self.path.partition("?")[0])
        self._reply(200 if file else 404, file.read_bytes() if file else b"", _TYPES.get(file.suffix if file else "", ""))

    def do_POST(self) -> None:
        self.server.take(self.path, self.rfile.read(int(self.headers["Content-Length"])))
        self._reply(200, b"")

    def _reply(self, status: int, body: bytes, kind: str = "") -> None:
        self.send_response(status)
        for name, value in (*self.server.headers.items(), ("Cross-Origin-Resource-Policy", "same-origin")):
            self.send_header(name, value)
        self.send_header("Content-Type", kind or "application/octet-stream")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """The step's log is for what went wrong."""
