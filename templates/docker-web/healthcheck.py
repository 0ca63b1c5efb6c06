"""Fetches the golden samples and the head of the model as a page would. A browser runs the samples; no server can."""

from __future__ import annotations

import http.client
import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main() -> None:
    """Exit with 0 when the page, the model and the samples are there and isolated, else with 1 and the reason."""
    service = json.loads((HERE / "service.json").read_text())
    for method, path in (("GET", "/"), ("GET", "/golden.bin"), ("HEAD", f"/{service['model']}")):
        reply, body = _asked(service["port"], method, path)
        isolated = reply.headers.get("Cross-Origin-Embedder-Policy") == "require-corp"
        if reply.status != 200 or not isolated:
            sys.exit(f"{method} {path}: status {reply.status}, {'isolated' if isolated else 'not isolated'}")
        if path == "/golden.bin" and body != (HERE / "site" / "golden.bin").read_bytes():
            sys.exit("the golden samples came out otherwise")


def _asked(port: int, method: str, path: str) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=8)
    try:
        connection.request(method, path)
        reply = connection.getresponse()
        return reply, reply.read()
    finally:
        connection.close()


if __name__ == "__main__":
    main()
