"""Fetching pinned sources: by digest, from the first mirror that has them, and on from where a transfer was cut."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from conftest import SmallDisk
from ortolan import digest
from ortolan.errors import OrtolanError, StoreError
from ortolan.reduced.fetch import fetch

DATA = os.urandom(3_000_000)
WANTED = digest.of_bytes(DATA)


@dataclass
class Mirror:
    """A server with one file, ``/file``: how many bytes each answer brings at most, and which ranges were asked for."""

    url: str = ""
    data: bytes = DATA
    most: int = 10**9
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    told = Mirror()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range", "")
            told.asked.append(wanted)
            since = int(wanted.removeprefix("bytes=").removesuffix("-") or 0)
            if self.path != "/file":
                self.send_error(404)
            elif wanted and since >= len(told.data):
                self.send_error(416)
            else:
                self.send_response(206 if wanted else 200)
                self.send_header("Content-Length", str(len(told.data) - since))
                self.end_headers()
                self.wfile.write(told.data[since : since + told.most])

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    told.url = f"http://127.0.0.1:{server.server_port}/file"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield told
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_file_is_fetched_once(mirror: Mirror, tmp_path: Path) -> None:
    told: list[object] = []
    for _ in range(2):
        assert fetch([mirror.url], WANTED, tmp_path / "a/file", told.append).read_bytes() == DATA
    assert mirror.asked == [""]
    assert told == ["fetching file"]


def test_a_transfer_that_was_cut_goes_on_where_it_stopped(mirror: Mirror, tmp_path: Path) -> None:
    mirror.most = 1_200_000
    assert fetch([mirror.url], WANTED, tmp_path / "file").read_bytes() == DATA
    assert mirror.asked == ["", "bytes=1200000-", "bytes=2400000-"]


def test_what_came_before_a_stop_is_kept_for_the_next_call(mirror: Mirror, tmp_path: Path) -> None:
    mirror.most = 500_000
    with pytest.raises(OrtolanError, match="file cannot be fetched"):
        fetch([mirror.url], WANTED, tmp_path / "file")
    assert not (tmp_path / "file").exists()
    mirror.most = 10**9
    assert fetch([mirror.url], WANTED, tmp_path / "file").read_bytes() == DATA
    assert mirror.asked[-1] == "bytes=1500000-"


def test_other_bytes_than_pinned_are_refused_and_removed(mirror: Mirror, tmp_path: Path) -> None:
    mirror.data = DATA[:-1] + b"\0"
    with pytest.raises(OrtolanError, match="cannot be fetched") as caught:
        fetch([mirror.url], WANTED, tmp_path / "file")
    assert WANTED in caught.value.why
    assert digest.of_bytes(mirror.data) in caught.value.why
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file.lock"]


def test_a_longer_partial_file_of_another_version_is_thrown_away(mirror: Mirror, tmp_path: Path) -> None:
    (tmp_path / "file.partial").write_bytes(os.urandom(len(DATA)))
    with pytest.raises(OrtolanError, match="cannot be fetched"):
        fetch([mirror.url], WANTED, tmp_path / "file")
    assert fetch([mirror.url], WANTED, tmp_path / "file").read_bytes() == DATA


def test_the_next_mirror_is_asked_and_all_are_named_when_none_has_it(mirror: Mirror, tmp_path: Path) -> None:
    gone = mirror.url.replace("/file", "/gone")
    assert fetch([gone, "http://127.0.0.1:1/file", mirror.url], WANTED, tmp_path / "file").read_bytes() == DATA
    with pytest.raises(OrtolanError, match="other cannot be fetched") as caught:
        fetch([gone, "http://127.0.0.1:1/file"], WANTED, tmp_path / "other")
    assert "404" in caught.value.why
    assert "refused" in caught.value.why


def test_a_damaged_file_is_fetched_again(mirror: Mirror, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"half of it")
    assert fetch([mirror.url], WANTED, tmp_path / "file").read_bytes() == DATA


def test_a_full_disk_is_an_error_of_its_own(mirror: Mirror, small_disk: SmallDisk) -> None:
    with pytest.raises(StoreError, match="No space left on device"):
        fetch([mirror.url], WANTED, small_disk("1m") / "file")
