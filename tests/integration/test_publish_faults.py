"""Lines that break, servers that fail and lie, processes that are killed: a tag leads to a whole release or to nothing."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import builds
import outgoing as made
from conftest import ROOT
from ortolan.errors import OrtolanError
from ortolan.release import layout
from ortolan.release.publish.address import parse
from ortolan.release.publish.artifact import artifact
from ortolan.release.publish.channel import Promotion
from ortolan.release.publish.outgoing import Outgoing, outgoing
from ortolan.release.publish.patience import Patience
from ortolan.release.publish.registry import Registry as Store
from ortolan.release.publish.repository import Repository, repository
from ortolan.release.publish.upload import Sessions
from registry import Fault, Proxy, Registry, proxied, running

QUICK = Patience(tries=5, first=0.001, longest=0.01)
CHUNK = 16 << 10
BIG = 16  # chunks
UPLOAD = "(POST|PATCH|PUT) .*/blobs/uploads/"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Registry]:
    with running(tmp_path / "registry") as found:
        yield found


def noise(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Outgoing:
    return outgoing(made.release(tmp_path_factory.mktemp("releases"), {**builds.FILES, "model.onnx": noise(BIG * CHUNK)}))


def store(host: str, tmp_path: Path, patience: Patience = QUICK) -> Store:
    return Store(parse(f"oci://{host}/models"), Sessions(tmp_path / "uploads"), made.quiet, patience, CHUNK)


def inside(host: str) -> Repository:
    return repository(parse(f"oci://{host}/models"), f"models/{made.TARGET}/{made.MODEL}", QUICK)


def tagged(server: Registry, release: Outgoing, tag: str = made.TAG) -> bool:
    """Whether the tag is there; if it is, everything behind it must be."""
    there = inside(server.host).manifest(tag)
    if there is None:
        return False
    wanted = artifact(release)
    assert there.data == wanted.data
    assert {piece.digest for piece in wanted.pieces} <= server.blobs()
    for one in wanted.pieces:
        inside(server.host).prove_blob(one.digest, one.size)
    return True


@pytest.mark.parametrize(
    "faults",
    [
        [Fault("busy", ".", times=3)],
        [Fault("busy", "HEAD .*/blobs/", times=4, after=10)],
        [Fault("busy", "PATCH ", times=4, after=7)],
        [Fault("busy", "PUT .*/manifests/", times=2)],
        [Fault("wait", "POST ", times=4)],
        [Fault("reset", "POST ", times=3)],
        [Fault("reset", "PATCH ", times=4, after=10)],
        [Fault("reset", "PUT .*/blobs/", times=3, after=2)],
        [Fault("lose", "PATCH ", times=1, after=5)],
        [Fault("lose", "PUT .*/blobs/", times=3)],
        [Fault("lose", "PUT .*/manifests/", times=3)],
        [Fault("truncate", "GET ", times=3)],
        [Fault("wrong", "GET .*/manifests/", times=2, after=1)],
        [Fault("reset", ".", times=4, after=20), Fault("busy", ".", times=4, after=40), Fault("lose", ".", times=2, after=60)],
    ],
    ids=lambda faults: ", ".join(f"{one.action} {one.where}" for one in faults),
)
def test_what_fails_for_a_while_is_done_all_the_same(
    server: Registry, release: Outgoing, tmp_path: Path, faults: list[Fault]
) -> None:
    with proxied(server, *(Fault(one.action, one.where, one.times, one.after) for one in faults)) as proxy:
        done = store(proxy.host, tmp_path).publish(release)
        assert all(one.seen > one.after for one in proxy.faults), "the fault never came"
    assert tagged(server, release)
    assert done.digest == artifact(release).digest


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (Fault("busy", ".", times=10**6), r"500 Internal Server Error \(UNKNOWN: no\); tried 5 times"),
        (Fault("busy", "PATCH ", times=10**6), "uploading .* failed"),
        (Fault("reset", ".", times=10**6), "tried 5 times"),
        (Fault("refuse", "POST ", times=10**6), "403 Forbidden"),
        (Fault("refuse", "PUT .*/manifests/sha256", times=10**6), "403 Forbidden"),
        (Fault("wrong", "GET .*/manifests/sha256:", times=10**6), "the registry gives sha256:.* for sha256:"),
        (Fault("truncate", "GET .*/manifests/sha256:", times=10**6), "reading the manifest of .* failed"),
        (Fault("lose", "PATCH ", times=10**6), "uploading .* failed"),
        (Fault("lie", "HEAD .*/blobs/", times=10**6), "the registry does not have blob sha256:.* it says sha256:.* bytes"),
    ],
    ids=lambda value: f"{value.action} {value.where}" if isinstance(value, Fault) else "",
)
def test_what_fails_for_good_is_an_error_and_no_tag(
    server: Registry, release: Outgoing, tmp_path: Path, fault: Fault, says: str
) -> None:
    with proxied(server, Fault(fault.action, fault.where, fault.times)) as proxy:
        with pytest.raises(OrtolanError, match=f"(?s){says}") as caught:
            store(proxy.host, tmp_path).publish(release)
        assert "_state" not in str(caught.value)
    assert not tagged(server, release)
    assert store(server.host, tmp_path).publish(release).digest == artifact(release).digest


def test_a_server_that_is_not_there_is_named_with_the_reason(release: Outgoing, tmp_path: Path, server: Registry) -> None:
    server.kill()
    with pytest.raises(
        OrtolanError, match=rf"(?s)http://{server.host}/models/.*Connection refused; tried 5 times.*goes on from here"
    ):
        store(server.host, tmp_path).publish(release)


def test_an_upload_goes_on_where_it_was_cut_off(server: Registry, release: Outgoing, tmp_path: Path) -> None:
    """The line breaks between two chunks, for longer than anyone waits; a later call sends the rest and nothing twice."""
    digest = release.release.files["model.onnx"].digest
    with proxied(server, Fault("reset", "PATCH ", times=QUICK.tries, after=11)) as proxy:
        with pytest.raises(OrtolanError, match="uploading"):
            store(proxy.host, tmp_path).publish(release)
        assert digest not in server.blobs()
        assert list((tmp_path / "uploads").iterdir())
        store(proxy.host, tmp_path).publish(release)
        assert proxy.sent("PATCH ") == BIG * CHUNK
    assert tagged(server, release)
    assert not list((tmp_path / "uploads").iterdir())


def test_an_upload_outlives_a_registry_that_is_killed(server: Registry, release: Outgoing, tmp_path: Path) -> None:
    """Killed between two chunks and started again, it knows how much it has."""
    with proxied(server) as proxy:
        proxy.faults.append(Fault("reset", "PATCH ", times=QUICK.tries, after=11))
        with pytest.raises(OrtolanError):
            store(proxy.host, tmp_path).publish(release)
        server.kill()
        with pytest.raises(OrtolanError):
            store(proxy.host, tmp_path).publish(release)
        server.start()
        store(proxy.host, tmp_path).publish(release)
        assert proxy.sent("PATCH ") == BIG * CHUNK
    assert tagged(server, release)


def test_a_registry_that_is_killed_in_the_middle_of_a_chunk_is_sent_that_blob_anew_and_no_other(
    server: Registry, release: Outgoing, tmp_path: Path
) -> None:
    killed = threading.Event()

    def kill(_: Any) -> None:
        if not killed.is_set():
            killed.set()
            server.kill()

    with proxied(server) as proxy:
        before = Interrupted(proxy, "PATCH", 10, kill)
        with before, pytest.raises(OrtolanError):
            store(proxy.host, tmp_path).publish(release)
        assert killed.is_set()
        there = server.blobs()
        server.start()
        proxy.asked.clear()
        store(proxy.host, tmp_path).publish(release)
        sizes = {one.digest: one.size for one in artifact(release).pieces}
        missing = sum(size for digest, size in sizes.items() if digest not in there)
        assert proxy.sent() <= missing + CHUNK
    assert tagged(server, release)


class Interrupted:
    """Calls something once, at the n-th request of a kind, before the registry hears of it."""

    def __init__(self, proxy: Proxy, method: str, after: int, call: Any) -> None:
        self._proxy, self._method, self._after, self._call = proxy, method, after, call

    def __enter__(self) -> None:
        self._fault, seen = self._proxy.fault, iter(range(10**9))

        def fault(method: str, path: str) -> Any:
            if method == self._method and next(seen) == self._after:
                self._call(path)
            return self._fault(method, path)

        self._proxy.fault = fault  # type: ignore[method-assign]

    def __exit__(self, *_: object) -> None:
        self._proxy.fault = self._fault  # type: ignore[method-assign]


def test_a_registry_that_has_forgotten_an_upload_is_sent_it_anew(server: Registry, release: Outgoing, tmp_path: Path) -> None:
    with proxied(server, Fault("reset", "PATCH ", times=QUICK.tries, after=11)) as proxy:
        with pytest.raises(OrtolanError):
            store(proxy.host, tmp_path).publish(release)
        for record in (tmp_path / "uploads").iterdir():
            location = json.loads(record.read_text())["location"]
            record.write_text(json.dumps({"location": location.replace("_state=", "_state=x")}))
        store(proxy.host, tmp_path).publish(release)
    assert tagged(server, release)


def test_the_file_of_a_session_is_for_its_owner_alone(server: Registry, release: Outgoing, tmp_path: Path) -> None:
    with proxied(server, Fault("reset", "PATCH ", times=10**6, after=3)) as proxy, pytest.raises(OrtolanError):
        store(proxy.host, tmp_path).publish(release)
    (record,) = (tmp_path / "uploads").iterdir()
    assert record.stat().st_mode & 0o777 == 0o600


PROGRAM = """
import sys
from pathlib import Path
from ortolan.events import Event
from ortolan.release.publish.address import parse
from ortolan.release.publish.outgoing import outgoing
from ortolan.release.publish.registry import Registry
from ortolan.release.publish.upload import Sessions
folder, host, sessions, chunk = sys.argv[1:]
at = Registry(parse(f"oci://{host}/models"), Sessions(Path(sessions)), lambda _: None, chunk=int(chunk))
at.publish(outgoing(Path(folder)))
"""


@pytest.mark.parametrize(
    ("method", "path", "after"),
    [
        ("HEAD", "/blobs/", 2), ("POST", "/blobs/", 5), ("PATCH", "/blobs/", 11), ("PUT", "/blobs/", 8),
        ("PUT", "/manifests/sha256:", 0), ("PUT", "/manifests/sha256:", 2), ("PUT", "/manifests/sha256-", 0),
        ("PUT", f"/manifests/{made.TAG}", 0),
    ],
)  # fmt: skip
def test_a_publish_that_is_killed_leaves_no_tag_or_a_whole_one(
    server: Registry, release: Outgoing, tmp_path: Path, method: str, path: str, after: int
) -> None:
    words = [sys.executable, "-c", PROGRAM, str(release.folder)]
    with proxied(server) as proxy:
        running = subprocess.Popen(
            [*words, proxy.host, str(tmp_path / "uploads"), str(CHUNK)], env=os.environ | {"PYTHONPATH": str(ROOT / "src")}
        )
        seen = iter(range(10**9))
        original = proxy.fault

        def fault(asked: str, where: str) -> Any:
            if asked == method and path in where and next(seen) == after:
                running.send_signal(signal.SIGKILL)
                running.wait()
            return original(asked, where)

        proxy.fault = fault  # type: ignore[assignment,method-assign]
        assert running.wait(timeout=60) == -signal.SIGKILL
        tagged(server, release)
        there = server.blobs()
        proxy.asked.clear()
        store(proxy.host, tmp_path).publish(release)
        sizes = {one.digest: one.size for one in artifact(release).pieces}
        assert proxy.sent("PUT .*/blobs/uploads/") <= sum(size for digest, size in sizes.items() if digest not in there)
    assert tagged(server, release)


def test_ctrl_c_ends_a_publish_soon_and_leaves_no_tag(server: Registry, release: Outgoing, tmp_path: Path) -> None:
    words = [sys.executable, "-c", PROGRAM, str(release.folder)]
    with proxied(server) as proxy:
        running = subprocess.Popen(
            [*words, proxy.host, str(tmp_path / "uploads"), str(CHUNK)], env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
            stderr=subprocess.PIPE,
        )  # fmt: skip

        def interrupt(_: str) -> None:
            running.send_signal(signal.SIGINT)
            time.sleep(0.3)

        with Interrupted(proxy, "PATCH", 5, interrupt):
            _, said = running.communicate(timeout=60)
        assert b"KeyboardInterrupt" in said
        assert proxy.count("PATCH ") < BIG
    assert not tagged(server, release)


def test_two_at_once_both_succeed(server: Registry, release: Outgoing, tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        several = [pool.submit(store(server.host, tmp_path / str(n)).publish, release) for n in range(2)]
        assert {one.result().digest for one in several} == {artifact(release).digest}
    assert tagged(server, release)


def test_of_two_different_releases_under_one_tag_one_is_there_whole(server: Registry, release: Outgoing, tmp_path: Path) -> None:
    other = outgoing(made.release(tmp_path / "other", {**builds.FILES, "model.onnx": noise(BIG * CHUNK, 1)}))
    with ThreadPoolExecutor(2) as pool:
        several = [pool.submit(store(server.host, tmp_path / str(n)).publish, one) for n, one in enumerate((release, other))]
        failed = [one.exception() for one in several]
    there = inside(server.host).manifest(made.TAG)
    assert there is not None
    assert None in failed
    assert tagged(server, release if there.digest == artifact(release).digest else other)


@pytest.mark.parametrize(
    ("method", "path"), [("PUT", "/manifests/sha256:"), ("PUT", "/manifests/sha256-"), ("PUT", "/manifests/stable")]
)
def test_a_promotion_that_breaks_off_moves_nothing_and_can_be_said_again(
    server: Registry, release: Outgoing, tmp_path: Path, method: str, path: str
) -> None:
    at = store(server.host, tmp_path)
    at.publish(release)
    later = outgoing(made.release(tmp_path / "later", {**builds.FILES, "model.onnx": b"2"}, sequence=11, tag=made.LATER))
    at.publish(later)
    at.promote(Promotion(made.TAG, made.TARGET, made.MODEL, "stable", "me", datetime(2024, 5, 1, tzinfo=UTC)))
    wanted = Promotion(made.LATER, made.TARGET, made.MODEL, "stable", "me", datetime(2024, 5, 2, tzinfo=UTC))
    with proxied(server, Fault("reset", f"{method} .*{path}", times=QUICK.tries)) as proxy:
        with pytest.raises(OrtolanError):
            store(proxy.host, tmp_path).promote(wanted)
        assert at.channels(made.TARGET, made.MODEL).records["stable"].tag == made.TAG
        assert store(proxy.host, tmp_path).promote(wanted).moved
    record = at.channels(made.TARGET, made.MODEL).records["stable"]
    assert [one.tag for one in record.history] == [made.TAG, made.LATER]


def test_two_promotions_at_once_leave_a_channel_with_a_record(server: Registry, release: Outgoing, tmp_path: Path) -> None:
    at = store(server.host, tmp_path)
    at.publish(release)
    with ThreadPoolExecutor(2) as pool:
        several = [
            pool.submit(at.promote, Promotion(made.TAG, made.TARGET, made.MODEL, name, "me", datetime(2024, 5, 1, tzinfo=UTC)))
            for name in ("stable", "beta")
        ]
        assert all(one.result().moved for one in several)
    assert set(at.channels(made.TARGET, made.MODEL).records) <= {"stable", "beta"}


def test_a_registry_that_takes_no_chunks_is_sent_whole_blobs(server: Registry, release: Outgoing, tmp_path: Path) -> None:
    with proxied(server) as proxy:
        original = proxy.fault

        def fault(method: str, path: str) -> Any:
            return "unknown" if method == "PATCH" else original(method, path)

        proxy.fault = fault  # type: ignore[method-assign]
        store(proxy.host, tmp_path).publish(release)
        assert {one.status for one in proxy.asked if one.method == "PATCH"} == {405}
    assert tagged(server, release)
    assert layout.SUMS in release.files
