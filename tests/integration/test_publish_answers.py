"""Servers that answer, but not as registries and GitLab do: an error in words or nothing found, never a crash."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import outgoing as made
from ortolan.cache import cache_at
from ortolan.errors import OrtolanError
from ortolan.release.publish.address import parse
from ortolan.release.publish.patience import Patience
from ortolan.release.publish.store import Store
from ortolan.release.publish.stores import store

QUICK = Patience(tries=2, first=0.001, longest=0.01)
ARTIFACT = '"artifactType": "application/vnd.cncf.model.manifest.v1+json"'
LAYER = '"annotations": {"org.cncf.model.filepath": "release.json"}'
ODD = {
    "a page": "<html>log in</html>",
    "a list": "[1, null]",
    "numbers": '{"tags": 3, "manifests": 5, "layers": 7}',
    "tags that are none": '{"tags": [null, 1, {}]}',
    "referrers that are none": f'{{"tags": ["stable"], "manifests": [1, {{"annotations": []}}], {ARTIFACT}}}',
    "layers that are none": f'{{"layers": [3, {{"annotations": null}}], {ARTIFACT}}}',
    "a layer of no size": f'{{"layers": [{{{LAYER}, "digest": "x", "size": "many"}}], {ARTIFACT}}}',
    "a layer of no digest": f'{{"layers": [{{{LAYER}, "size": 3}}], {ARTIFACT}}}',
    "a layer elsewhere": f'{{"layers": [{{{LAYER}, "digest": "../../x", "size": 3}}], {ARTIFACT}}}',
}


@pytest.fixture(params=list(ODD.values()), ids=list(ODD))
def host(request: pytest.FixtureRequest) -> Iterator[str]:
    """A server that always says the same."""
    body = str(request.param).encode()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the base class names it
            """Silent."""

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(params=["oci://{}/models", "gitlab://{}/group/project"])
def at(request: pytest.FixtureRequest, host: str, tmp_path: Path) -> Store:
    """A registry, and GitLab."""
    return store(parse(str(request.param).format(host)), cache_at(tmp_path), made.quiet, QUICK)


def test_nothing_odd_is_promoted(at: Store) -> None:
    with pytest.raises(OrtolanError, match=made.TAG + "|no JSON object|is no release|without digest or size|reading"):
        at.promote(made.promotion())


def test_odd_lists_are_empty_or_an_error(at: Store) -> None:
    with contextlib.suppress(OrtolanError):
        found = at.channels(made.TARGET, made.MODEL)
        assert (dict(found.records), list(found.tags)) == ({}, [])
