"""Serves the files of a page with the headers that onnxruntime-web wants. The standard library only."""

from __future__ import annotations

import hashlib
import json
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
SITE = HERE / "site"
SERVICE = json.loads((HERE / "service.json").read_text())

_PATIENCE = 30.0  # seconds that a caller may keep a socket waiting
_REPORT = 16_384  # bytes of what a page may say of itself
_TYPES = {
    ".html": "text/html; charset=utf-8", ".mjs": "text/javascript", ".js": "text/javascript", ".wasm": "application/wasm",
    ".json": "application/json",
}  # fmt: skip
_HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'self'; script-src 'self' 'wasm-unsafe-eval' blob:; worker-src 'self' blob:",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}
"""The first two isolate the page, without which WebAssembly has no threads."""


def say(text: str) -> None:
    """One line of the container's log."""
    print("".join(one if one.isprintable() else "?" for one in text), file=sys.stderr, flush=True)


class File:
    """One file, and what callers ask to know whether they have it."""

    def __init__(self, path: Path) -> None:
        self.path, self.size = path, path.stat().st_size
        with path.open("rb") as stream:
            self.tag = f'"{hashlib.sha256(stream.read()).hexdigest()}"'
        self.kind = _TYPES.get(path.suffix, "application/octet-stream")


def files() -> dict[str, File]:
    """Every file by the path that asks for it; nothing else can be asked for."""
    found = {f"/{path.relative_to(SITE).as_posix()}": File(path) for path in sorted(SITE.rglob("*")) if path.is_file()}
    return {**found, "/": found["/index.html"]}


class Server(ThreadingHTTPServer):
    """One thread for each request."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, port: int) -> None:
        super().__init__(("", port), Handler)
        self.files = files()


class Handler(BaseHTTPRequestHandler):
    """``GET`` and ``HEAD`` of the files; ``POST /report`` goes to the log."""

    protocol_version = "HTTP/1.1"
    server_version, sys_version = "ortolan", ""
    timeout = _PATIENCE
    server: Server

    def do_GET(self) -> None:
        """A file, or that the caller has it."""
        file = self.server.files.get(self.path.partition("?")[0])
        if file is None:
            self._head(404, {"Content-Length": "0"})
        elif self.headers.get("If-None-Match") == file.tag:
            self._head(304, {"ETag": file.tag})
        else:
            self._head(200, {"Content-Type": file.kind, "Content-Length": str(file.size), "ETag": file.tag})
            if self.command == "GET":
                with file.path.open("rb") as stream:
                    while chunk := stream.read(1 << 18):
                        self.wfile.write(chunk)

    do_HEAD = do_GET  # noqa: N815

    def do_POST(self) -> None:
        """What a page says of itself: one line of the log."""
        length = self.headers.get("Content-Length", "")
        if self.path != "/report" or not (length.isascii() and length.isdecimal()) or int(length) > _REPORT:
            self.close_connection = True
            self._head(404 if self.path != "/report" else 413, {"Content-Length": "0"})
            return
        try:
            told = json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError):
            self._head(400, {"Content-Length": "0"})
        else:
            say(f"report {json.dumps(told)}")
            self._head(204, {})

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**_HEADERS, **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Errors only: one page is a dozen files."""
        if not (len(args) > 1 and str(args[1]).startswith(("2", "3"))):
            say(f"{self.address_string()} {format % args}")


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # the first process of a container ignores it otherwise
    server = Server(SERVICE["port"])

    def stop(number: int, _: Any) -> None:
        say(f"{signal.Signals(number).name}: no new requests")
        threading.Thread(target=server.shutdown).start()

    for one in (signal.SIGTERM, signal.SIGINT):
        signal.signal(one, stop)
    say(f"{SERVICE['tag']} on port {SERVICE['port']}, {len(server.files) - 1} files")
    server.serve_forever()
    server.server_close()
    say("stopped")


if __name__ == "__main__":
    main()
