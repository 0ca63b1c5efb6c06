"""Releases in stores of folders: a folder, S3 (moto's server) and GitLab's packages (a server of the tests')."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

import builds
import gitlab_packages
import outgoing as made
from conftest import ROOT
from ortolan.cache import cache_at
from ortolan.digest import of_bytes
from ortolan.disk import PART
from ortolan.errors import GateError, OrtolanError
from ortolan.manifest import WaiverPart
from ortolan.release import layout
from ortolan.release.publish import s3
from ortolan.release.publish.address import parse
from ortolan.release.publish.folder import LocalFolders
from ortolan.release.publish.outgoing import Outgoing, outgoing
from ortolan.release.publish.patience import Patience
from ortolan.release.publish.stores import store
from ortolan.release.publish.tree import Tree

QUICK = Patience(tries=3, first=0.001, longest=0.01)
BASE = f"{made.TARGET}/{made.MODEL}"


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def gitlab(monkeypatch: pytest.MonkeyPatch) -> Iterator[gitlab_packages.GitLab]:
    monkeypatch.delenv("GITLAB_TOKEN", raising=False)
    monkeypatch.setenv("CI_JOB_TOKEN", gitlab_packages.TOKEN)
    with gitlab_packages.running() as found:
        yield found


@pytest.fixture
def bucket(moto: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """A bucket of the test's own; boto3 is told of it as users tell it."""
    for name, value in {
        "AWS_ENDPOINT_URL": moto, "AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    name = f"b{of_bytes(str(tmp_path).encode())[7:27]}"
    boto3.Session().client("s3").create_bucket(Bucket=name)
    return name


@pytest.fixture(params=["file", "s3", "gitlab"])
def at(request: pytest.FixtureRequest, tmp_path: Path) -> Tree:
    """Each kind of store."""
    if request.param == "file":
        url = f"file://{tmp_path}/store"
    elif request.param == "s3":
        url = f"s3://{request.getfixturevalue('bucket')}/releases"
    else:
        url = request.getfixturevalue("gitlab").url
    found = store(parse(url), cache_at(tmp_path / "cache"), made.quiet, QUICK)
    assert isinstance(found, Tree)
    return found


def later(root: Path) -> Outgoing:
    return outgoing(made.release(root, {**builds.FILES, "model.onnx": b"2"}, sequence=11, tag=made.LATER))


def test_a_release_is_there_byte_for_byte_and_the_same_again_sends_nothing(at: Tree, tmp_path: Path) -> None:
    release = outgoing(made.release(tmp_path))
    first, again = at.publish(release), at.publish(release, deep=True)
    assert (first.sent, again.sent) == (again.kept, 0)
    assert again.digest == first.digest == release.digest
    for name, path in release.files.items():
        assert at.folders.read(f"{BASE}/{made.TAG}", name) == path.read_bytes()


def test_a_published_release_never_changes(at: Tree, tmp_path: Path) -> None:
    release = outgoing(made.release(tmp_path / "a"))
    at.publish(release)
    with pytest.raises(OrtolanError, match=r"(?s)is there already, and is another.*it has sha256:.*this release sha256:"):
        at.publish(outgoing(made.release(tmp_path / "b", {**builds.FILES, "model.onnx": b"other"})))
    for name, path in release.files.items():
        assert at.folders.read(f"{BASE}/{made.TAG}", name) == path.read_bytes()


def test_the_same_bundle_of_a_later_commit_is_there_already(at: Tree, tmp_path: Path) -> None:
    first = outgoing(made.release(tmp_path / "a", sequence=10))
    at.publish(first)
    later = outgoing(made.release(tmp_path / "b", sequence=11))
    done = at.publish(later)
    assert (done.digest, done.sent, done.earlier) == (first.digest, 0, first.release)
    for name, path in first.files.items():
        assert at.folders.read(f"{BASE}/{made.TAG}", name) == path.read_bytes()
    assert at.publish(first).earlier is None


def test_the_same_bundle_does_not_hide_a_release_that_was_damaged(tmp_path: Path) -> None:
    at = store(parse(f"file://{tmp_path}/store"), cache_at(tmp_path / "cache"), made.quiet, QUICK)
    at.publish(outgoing(made.release(tmp_path / "a", sequence=10)))
    (tmp_path / "store" / BASE / made.TAG / layout.ZST).write_bytes(b"")
    with pytest.raises(OrtolanError, match="is there already, and is another"):
        at.publish(outgoing(made.release(tmp_path / "b", sequence=11)))


def test_what_is_missing_is_brought_and_a_signature_may_be_a_new_one(at: Tree, tmp_path: Path) -> None:
    folder = made.release(tmp_path)
    at.publish(outgoing(folder))
    made.key(tmp_path).sign(folder / layout.SUMS)
    (folder / "delta-0123456789ab.zst").write_bytes(b"patch")
    assert at.publish(outgoing(folder)).sent == len(b"patch")
    assert at.folders.read(f"{BASE}/{made.TAG}", layout.SUMS_SIGNATURE) == (folder / layout.SUMS_SIGNATURE).read_bytes()


def test_a_channel_follows_the_release_and_remembers(at: Tree, tmp_path: Path) -> None:
    first = outgoing(made.release(tmp_path / "a"))
    second = later(tmp_path / "b")
    at.publish(first)
    at.publish(second)
    at.promote(made.promotion())
    at.promote(made.promotion(channel="beta", hour=1))
    record = at.promote(made.promotion(tag=made.LATER, hour=2)).record
    assert (record.tag, record.release, record.at) == (made.LATER, second.digest, "2024-05-01T02:00:00Z")
    assert record.previous is not None
    assert (record.previous.tag, record.previous.release) == (made.TAG, first.digest)
    found = at.channels(made.TARGET, made.MODEL)
    assert found.tags == sorted([made.TAG, made.LATER])
    assert found.records["stable"] == record
    assert [one.tag for one in record.history] == [made.TAG, made.LATER]
    assert found.records["beta"].tag == made.TAG
    assert not at.promote(made.promotion(tag=made.LATER, hour=3)).moved
    with pytest.raises(OrtolanError, match=r"(?s)sequence 10 is lower than 11.*--back"):
        at.promote(made.promotion(hour=4))
    assert at.promote(made.promotion(hour=4, back=True)).record.tag == made.TAG


def test_the_record_is_the_file_that_devices_read(at: Tree, tmp_path: Path) -> None:
    release = outgoing(made.release(tmp_path))
    at.publish(release)
    at.promote(made.promotion())
    data = at.folders.read(f"{BASE}/channels", "stable.json")
    assert data is not None
    move = {"tag": made.TAG, "release": release.digest, "by": "maintainer@example.org", "at": "2024-05-01T00:00:00Z"}
    assert json.loads(data) == {"channel": "stable", "previous": None, "history": [move], **move}


def test_nothing_but_a_whole_and_signed_release_is_promoted(at: Tree, tmp_path: Path) -> None:
    with pytest.raises(OrtolanError, match=r"(?s)no such release.*publish comes first"):
        at.promote(made.promotion())
    at.publish(outgoing(made.release(tmp_path, signed=False), unsigned=True))
    with pytest.raises(OrtolanError, match=r"(?s)is not signed.*--unsigned"):
        at.promote(made.promotion())
    assert not at.channels(made.TARGET, made.MODEL).records
    assert at.promote(made.promotion(unsigned=True)).moved


def test_a_waiver_that_ran_out_since_keeps_a_release_from_a_channel(at: Tree, tmp_path: Path) -> None:
    waiver = WaiverPart(gate="size", subject="fp32", reason="one week", who="maintainer@example.org", expires="2024-04-30")
    folder = made.release(tmp_path, waivers=[waiver])
    at.publish(outgoing(folder, today=datetime(2024, 4, 30, tzinfo=UTC).date()))
    with pytest.raises(GateError, match="ran out on 2024-04-30"):
        at.promote(made.promotion())


def test_a_description_that_the_sums_do_not_list_is_not_promoted(tmp_path: Path) -> None:
    at = Tree(LocalFolders(tmp_path / "store"), made.quiet)
    at.publish(outgoing(made.release(tmp_path)))
    path = tmp_path / "store" / BASE / made.TAG / layout.DESCRIPTION
    path.write_bytes(path.read_bytes().replace(b'"sequence": 10', b'"sequence": 99'))
    with pytest.raises(OrtolanError, match="is not the one that SHA256SUMS lists"):
        at.promote(made.promotion())


def test_a_record_that_was_changed_meanwhile_stays(at: Tree, tmp_path: Path) -> None:
    at.publish(outgoing(made.release(tmp_path)))
    folder, name = f"{BASE}/channels", "stable.json"
    at.folders.replace(folder, name, b"one", None)
    with pytest.raises(OrtolanError, match="has been changed meanwhile"):
        at.folders.replace(folder, name, b"two", None)
    with pytest.raises(OrtolanError, match="has been changed meanwhile"):
        at.folders.replace(folder, name, b"two", b"other")
    assert at.folders.read(folder, name) == b"one"


# --- a folder


def test_a_release_appears_in_a_folder_in_one_move(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    release, base = outgoing(made.release(tmp_path)), tmp_path / "store" / BASE
    seen = list[set[str]]()
    original = Path.rename

    def rename(path: Path, to: Path) -> Path:
        seen.append({one.name for one in path.iterdir()})
        assert not to.exists()
        return original(path, to)

    monkeypatch.setattr(Path, "rename", rename)
    Tree(LocalFolders(tmp_path / "store"), made.quiet).publish(release)
    assert seen == [set(release.files)]
    assert [path.name for path in base.iterdir()] == [made.TAG]


PROGRAM = """
import sys, os, signal
from pathlib import Path
from ortolan.release.publish import folder
from ortolan.release.publish.outgoing import outgoing
from ortolan.release.publish.tree import Tree
source, to, after = sys.argv[1:]
copy, count = folder._copy, iter(range(100))
def killed(*args):
    if next(count) == int(after):
        os.kill(os.getpid(), signal.SIGKILL)
    copy(*args)
folder._copy = killed
Tree(folder.LocalFolders(Path(to)), lambda _: None).publish(outgoing(Path(source)))
"""


@pytest.mark.parametrize("after", [0, 4])
def test_a_publish_that_is_killed_leaves_nothing_that_looks_like_a_release(tmp_path: Path, after: int) -> None:
    release = outgoing(made.release(tmp_path))
    words = [sys.executable, "-c", PROGRAM, str(release.folder), str(tmp_path / "store"), str(after)]
    done = subprocess.run(words, env=os.environ | {"PYTHONPATH": str(ROOT / "src")}, check=False)
    assert done.returncode == -signal.SIGKILL
    base = tmp_path / "store" / BASE
    assert all(path.name.startswith(PART) for path in base.iterdir())
    at = Tree(LocalFolders(tmp_path / "store"), made.quiet)
    assert not at.channels(made.TARGET, made.MODEL).tags
    at.publish(release)
    assert [path.name for path in base.iterdir()] == [made.TAG]


def test_a_full_disk_leaves_nothing(tmp_path: Path, small_disk: Callable[[str], Path]) -> None:
    release = outgoing(made.release(tmp_path, {**builds.FILES, "model.onnx": os.urandom(2 << 20)}))
    root = small_disk("1m")
    with pytest.raises(OrtolanError, match="No space left"):
        Tree(LocalFolders(root), made.quiet).publish(release)
    assert not list((root / BASE).iterdir())


# --- S3


def test_a_large_file_goes_to_s3_in_parts(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "PART", 5 << 20)  # S3's least
    found, path = s3.bucket(parse(f"s3://{bucket}/x")), tmp_path / "model.onnx"
    path.write_bytes(os.urandom(11 << 20))
    found.add("a/b/c", {"model.onnx": path}, made.quiet)
    about = boto3.Session().client("s3").head_object(Bucket=bucket, Key="x/a/b/c/model.onnx")
    assert about["ETag"].strip('"').endswith("-3")
    assert found.digests("a/b/c") == {"model.onnx": found.prove("a/b/c", "model.onnx")}


def test_an_object_that_is_not_what_its_metadata_say_is_seen(bucket: str, tmp_path: Path) -> None:
    at = store(parse(f"s3://{bucket}"), cache_at(tmp_path / "cache"), made.quiet)
    release = outgoing(made.release(tmp_path))
    at.publish(release)
    key, client = f"{BASE}/{made.TAG}/{layout.SBOM}", boto3.Session().client("s3")
    kept = client.head_object(Bucket=bucket, Key=key)["Metadata"]
    client.put_object(Bucket=bucket, Key=key, Body=b"{}", Metadata=kept)
    with pytest.raises(OrtolanError, match=f"{layout.SBOM} is there already, and is another"):
        at.publish(release)


def test_a_key_that_is_taken_meanwhile_stays(bucket: str, tmp_path: Path) -> None:
    found, path = s3.bucket(parse(f"s3://{bucket}")), tmp_path / "file"
    path.write_bytes(b"first")
    found.add("a/b/c", {"file": path}, made.quiet)
    path.write_bytes(b"second")
    found.add("a/b/c", {"file": path}, made.quiet)
    assert found.read("a/b/c", "file") == b"first"


@pytest.mark.usefixtures("bucket")
def test_errors_of_s3_are_in_words_and_without_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    release = outgoing(made.release(tmp_path))
    with pytest.raises(OrtolanError, match=r"(?s)s3://nowhere.*S3 refused: NoSuchBucket"):
        store(parse("s3://nowhere"), cache_at(tmp_path / "cache"), made.quiet).publish(release)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(OrtolanError, match="S3 cannot be used") as caught:
        store(parse("s3://nowhere"), cache_at(tmp_path / "cache"), made.quiet).publish(release)
    assert "secret" not in str(caught.value)


# --- GitLab


def test_packages_are_named_as_devices_look_for_them(gitlab: gitlab_packages.GitLab, tmp_path: Path) -> None:
    at = store(parse(gitlab.url), cache_at(tmp_path / "cache"), made.quiet, QUICK)
    at.publish(outgoing(made.release(tmp_path)))
    at.promote(made.promotion())
    assert gitlab.versions() == [("device.net", made.TAG), ("device.net", "channel-stable")]
    assert [name for _, version, name, _ in gitlab.files if version == "channel-stable"] == ["channel.json"]
    assert gitlab.files[-2][2] == layout.SUMS


def test_a_gitlab_that_stumbles_is_asked_again(gitlab: gitlab_packages.GitLab, tmp_path: Path) -> None:
    gitlab.broken = 2
    assert (
        store(parse(gitlab.url), cache_at(tmp_path / "cache"), made.quiet, QUICK).publish(outgoing(made.release(tmp_path))).sent
    )
    gitlab.broken, gitlab.files = 10**6, []
    with pytest.raises(OrtolanError, match="502 Bad Gateway; tried 3 times"):
        store(parse(gitlab.url), cache_at(tmp_path / "cache"), made.quiet, QUICK).publish(outgoing(made.release(tmp_path)))


def test_who_has_no_token_for_gitlab_is_told_so(
    gitlab: gitlab_packages.GitLab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITLAB_TOKEN", "glpat-wrong")
    with pytest.raises(OrtolanError, match=r"(?s)401 Unauthorized.*GITLAB_TOKEN") as caught:
        store(parse(gitlab.url), cache_at(tmp_path / "cache"), made.quiet, QUICK).publish(outgoing(made.release(tmp_path)))
    assert "glpat" not in str(caught.value)


def test_a_token_does_not_follow_a_redirect_to_another_server(gitlab: gitlab_packages.GitLab, tmp_path: Path) -> None:
    """GitLab hands files out of an object storage of another's."""
    headers = list[dict[str, str]]()

    class Storage(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the base class names it
            """Silent."""

        def do_GET(self) -> None:
            headers.append(dict(self.headers))
            package, version, name = self.path.strip("/").split("/")
            data = next(data for *place, data in reversed(gitlab.files) if place == [package, version, name])
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Storage)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        gitlab.storage = f"http://localhost:{server.server_address[1]}"
        at = store(parse(gitlab.url), cache_at(tmp_path / "cache"), made.quiet, QUICK)
        at.publish(outgoing(made.release(tmp_path)), deep=True)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert headers
    assert not any(gitlab_packages.TOKEN in one.values() for one in headers)
