"""ortolan-device against web servers and a real registry: resuming, failing lines, logins, referrers, patches, wrong bytes."""

from __future__ import annotations

import base64
import contextlib
import random
import re
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests

import builds
import outgoing as made
import registry as registries
from devices import Device, load, make_device, released
from ortolan.digest import of_bytes
from ortolan.release import delta
from ortolan.release.patch import Method
from ortolan.release.publish import referrers
from ortolan.release.publish.address import parse
from ortolan.release.publish.channel import Promotion
from ortolan.release.publish.outgoing import outgoing
from ortolan.release.publish.patience import Patience
from ortolan.release.publish.registry import Registry as Store
from ortolan.release.publish.repository import repository
from ortolan.release.publish.upload import Sessions
from registry import Fault
from releases import FITS_NOT, MODEL, TARGET, publish, whole, write_release

QUICK = Patience(tries=3, first=0.001, longest=0.01)
BLOBS = "GET .*/blobs/"


# --- web servers ---------------------------------------------------------------------------------------------------


@dataclass
class Web:
    """A folder on the web.

    ``ranges``: it can go on in the middle of a file. ``login``: what it wants. ``cut``: so many bytes of an archive, once, and no
    more. ``status``: what it answers first. ``to``: where it leads to. ``short``: the file that it cuts off, once. ``drips``: it
    sends byte after byte. ``challenge``: how it asks for a login. ``link``: a header of each answer.
    """

    folder: Path
    ranges: bool = True
    login: str = ""
    cut: int = 0
    status: list[int] = field(default_factory=list)
    to: str = ""
    short: str = ""
    drips: bool = False
    challenge: str = ""
    link: str = ""
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    """One for a test."""
    with serving(Web(tmp_path / "store")) as found:
        yield found


class serving:  # noqa: N801 - reads as what it does
    """The web server for the time of a ``with``."""

    def __init__(self, found: Web) -> None:
        self.found = found

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the base class names it
                """Silent."""

            def do_GET(self) -> None:
                answer(self, found)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        found.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self) -> Web:
        self.thread.start()
        return self.found

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def answer(handler: BaseHTTPRequestHandler, web: Web) -> None:
    web.asked.append((handler.path, dict(handler.headers)))
    if web.login and handler.headers.get("Authorization") != web.login:
        say(handler, 404, b"", {})  # as GitLab does
    elif web.challenge:
        say(handler, 401, b"", {"WWW-Authenticate": web.challenge})
    elif web.status:
        say(handler, web.status.pop(0), b"", {})
    elif web.to:
        say(handler, 307, b"", {"Location": web.to + handler.path})
    elif not (web.folder / handler.path.lstrip("/")).is_file():
        say(handler, 404, b"", {})
    else:
        give(handler, web, (web.folder / handler.path.lstrip("/")).read_bytes())


def give(handler: BaseHTTPRequestHandler, web: Web, data: bytes) -> None:
    asked = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
    start = int(asked[1]) if asked and web.ranges else 0
    headers = {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"} if start else {}
    headers |= {"Link": web.link} if web.link else {}
    cut = web.cut if handler.path.endswith("zst") else 0
    web.cut -= cut
    if web.short and handler.path.endswith(f"/{web.short}"):
        web.short, cut = "", len(data) // 2
    say(handler, 206 if start else 200, data[start:], headers, cut, drips=web.drips)


def say(
    handler: BaseHTTPRequestHandler, status: int, data: bytes, headers: dict[str, str], cut: int = 0, *, drips: bool = False
) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(data)))
    handler.end_headers()
    with contextlib.suppress(OSError):  # whoever asked has heard enough
        for piece in [data[at : at + 1] for at in range(len(data))] if drips else [data[:cut] if cut else data]:
            handler.wfile.write(piece)
            time.sleep(0.01 if drips else 0)


NOISE = random.Random(3).randbytes(20_000)


@pytest.fixture
def device(tmp_path: Path, web: Web) -> Device:
    """A device whose store is on the web, with one release in it."""
    device = make_device(tmp_path, source=web.url, retries=3)
    put(device, web, 1)
    return device


def put(device: Device, web: Web, sequence: int, **about: Any) -> Path:
    files = whole({"model.onnx": NOISE + b"%d" % sequence}, **about)
    folder = write_release(device.root.parent / f"release-{sequence}", files, device.key, sequence=sequence)
    publish(folder, web.folder, "stable")
    return folder


def test_a_release_comes_from_the_web(device: Device) -> None:
    assert device.ok("update", MODEL)["outcome"] == "installed"
    assert device.running() == released(device.root.parent / "release-1")


@pytest.mark.parametrize("ranges", [True, False])
def test_a_broken_download_goes_on(device: Device, web: Web, ranges: bool) -> None:
    web.ranges, web.cut = ranges, 1000
    done = device.inside("fetch", MODEL)
    assert done["outcome"] == "fetched"
    size = (device.root.parent / "release-1" / "bundle.tar.zst").stat().st_size
    archive = [headers.get("Range") for path, headers in web.asked if path.endswith("zst")]
    assert archive == [None, "bytes=1000-"]
    small = sum((device.root.parent / "release-1" / name).stat().st_size for name in SMALL)
    channel = next(web.folder.rglob("stable.json")).stat().st_size
    assert done["bytes"] == small + channel + size + (0 if ranges else 1000)


SMALL = ["SHA256SUMS", "SHA256SUMS.sig", "release.json", "manifest.json", "preflight.py"]


@pytest.mark.parametrize("status", [500, 502, 503, 429, 408])
def test_a_busy_server_is_asked_again(device: Device, web: Web, status: int) -> None:
    web.status = [status, status]
    assert device.inside("fetch", MODEL)["outcome"] == "fetched"


@pytest.mark.parametrize(("status", "times"), [(404, 1), (403, 1), (500, 4)])
def test_an_answer_that_stays_is_an_error(device: Device, web: Web, status: int, times: int) -> None:
    web.status = [status] * times
    assert device.inside("fetch", MODEL)["kind"] == f"http {status}"
    assert len(web.asked) == times


def test_a_server_that_is_not_there_is_an_error(device: Device) -> None:
    device.configure(source=f"http://127.0.0.1:{registries.free_port()}", retries=1)
    said = device.fails("fetch", MODEL, code=1)
    assert (said["what"], "refused" in said["why"].lower()) == ("cannot read from the store", True)


def test_nothing_large_is_asked_for_before_preflight(device: Device, web: Web) -> None:
    put(device, web, 2, preflight=FITS_NOT)
    assert device.inside("fetch", MODEL)["kind"] == "preflight"
    names = [path.rpartition("/")[2] for path, _ in web.asked]
    assert names == ["stable.json", "SHA256SUMS.sig", "SHA256SUMS", "release.json", "manifest.json", "preflight.py"]


def test_nothing_is_asked_for_after_a_bad_signature(device: Device, web: Web) -> None:
    next(web.folder.rglob("SHA256SUMS")).write_bytes(b"0" * 64 + b"  release.json\n")
    assert device.inside("fetch", MODEL)["kind"] == "signature"
    assert {path.rpartition("/")[2] for path, _ in web.asked} == {"stable.json", "SHA256SUMS", "SHA256SUMS.sig"}


@pytest.mark.parametrize("name", SMALL)
def test_a_small_file_without_an_end_is_refused(device: Device, web: Web, name: str) -> None:
    with next(web.folder.rglob(name)).open("r+b") as stream:
        stream.truncate(1 << 27)
    assert device.inside("fetch", MODEL)["kind"] == "size"


def test_an_archive_that_is_another_is_refused_and_not_kept(device: Device, web: Web) -> None:
    archive = next(web.folder.rglob("bundle.tar.zst"))
    good = archive.read_bytes()
    archive.write_bytes(good[:-9] + b"something" + b"more" * 100)
    assert device.inside("fetch", MODEL)["kind"] == "digest"
    assert not list((device.folder / "incoming").glob("bundle*"))
    archive.write_bytes(good)
    assert device.inside("fetch", MODEL)["outcome"] == "fetched"


@pytest.mark.parametrize("kind", ["user", "token"])
def test_a_store_that_wants_a_login_gets_it(device: Device, web: Web, kind: str) -> None:
    (device.root / "secret").write_text("correct horse\n")
    basic = base64.b64encode(b"maintainer:correct horse").decode()
    web.login = f"Basic {basic}" if kind == "user" else "Bearer correct horse"
    assert device.inside("fetch", MODEL)["kind"] == "http 404"
    device.configure(**({"user": "maintainer", "password_file": "secret"} if kind == "user" else {"token_file": "secret"}))
    assert device.inside("fetch", MODEL)["outcome"] == "fetched"


def test_a_login_stays_with_its_host(device: Device, web: Web) -> None:
    (device.root / "secret").write_text("correct horse\n")
    device.configure(token_file="secret")
    with serving(Web(web.folder)) as other:
        web.to = other.url
        assert device.inside("fetch", MODEL)["outcome"] == "fetched"
        assert all("Authorization" in headers for _, headers in web.asked)
        assert other.asked
        assert not any("Authorization" in headers for _, headers in other.asked)


def test_plain_http_is_for_this_machine_alone(device: Device) -> None:
    device.configure(source="http://store.example.org/releases")
    said = device.fails("fetch", MODEL)
    assert (said["kind"], said["hint"]) == ("address", "--insecure, where the network is trusted")


@pytest.mark.parametrize("name", ["stable.json", *SMALL])
def test_a_small_file_that_is_cut_off_is_asked_for_again(device: Device, web: Web, name: str) -> None:
    web.short = name
    assert device.inside("fetch", MODEL)["outcome"] == "fetched"
    assert len([path for path, _ in web.asked if path.endswith(f"/{name}")]) == 2


def test_a_server_that_keeps_a_device_waiting_is_left(device: Device, web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load(), "TIMEOUT", 0.02)
    device.configure(retries=0)
    web.drips = True
    said = device.inside("fetch", MODEL)
    assert (said["what"], "bytes came in" in said["why"]) == ("cannot read from the store", True)


@pytest.mark.parametrize("challenge", ['Basic realm="store"', 'Bearer realm="{}/token",service="store"'])
def test_a_server_that_a_redirect_led_to_gets_no_login_for_asking(device: Device, web: Web, challenge: str) -> None:
    (device.root / "secret").write_text("correct horse")
    device.configure(source=f"oci://127.0.0.1:{web.port}/models", user="maintainer", password_file="secret", retries=0)
    with serving(Web(web.folder)) as other:
        web.to, other.challenge = other.url, challenge.format(other.url)
        assert device.inside("fetch", MODEL)["kind"] == "http 401"
        assert other.asked
        assert not any("Authorization" in headers for _, headers in [*web.asked, *other.asked])


@pytest.mark.parametrize("to", ["file:///etc/hostname", "http://127.0.0.1:9/v2/more"])
def test_a_list_does_not_go_on_elsewhere(device: Device, web: Web, to: str) -> None:
    place = web.folder / "v2" / "models" / TARGET / MODEL
    for name in ("manifests/stable", f"referrers/{of_bytes(b'{}')}"):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(b"{}")
    device.configure(source=f"oci://127.0.0.1:{web.port}/models")
    web.link = f'<{to}>; rel="next"'
    said = device.inside("fetch", MODEL)
    assert (said["kind"], said["what"].endswith(to)) == ("address", True)


# --- a registry ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[registries.Registry]:
    """One registry for all; each test has a base of its own."""
    with registries.running(tmp_path_factory.mktemp("registry") / "r") as found:
        yield found


@dataclass
class Fleet:
    """Releases of a project in a registry, and a device that follows them."""

    project: Path
    device: Device
    store: Store
    source: str

    def release(self, sequence: int, **changes: bytes) -> Path:
        """A new release, published and promoted to stable."""
        tag = f"net-{sequence:012x}-opset17-ort1.17.3"
        files = {**builds.FILES, **{name.replace("_", "."): data for name, data in changes.items()}}
        folder = made.release(self.project / str(sequence), files, sequence=sequence, tag=tag) if sequence else Path()
        shutil.copy(made.key(self.project).signers, self.device.root / "allowed_signers")
        made.key(self.project).sign(folder / "SHA256SUMS")
        self.publish(folder)
        return folder

    def publish(self, folder: Path) -> None:
        """Also what was added to a folder."""
        found = outgoing(folder)
        self.store.publish(found)
        at = datetime(2024, 5, 1, found.release.sequence % 24, tzinfo=UTC)
        self.store.promote(Promotion(found.release.tag, made.TARGET, made.MODEL, "stable", "maintainer@example.org", at))


def fleet(tmp_path: Path, host: str, **settings: Any) -> Fleet:
    base = f"m{of_bytes(str(tmp_path).encode())[7:17]}"
    source = f"oci://{host}/{base}"
    device = make_device(tmp_path, target=made.TARGET, source=source, **settings)
    store = Store(parse(source), Sessions(tmp_path / "uploads"), made.quiet, QUICK)
    return Fleet(tmp_path / "project", device, store, source)


def running(device: Device, folder: Path) -> bool:
    """Whether the device runs a release, whole."""
    there = device.root / made.MODEL / "current" / ".ortolan" / "release.json"
    return bool(
        there.read_bytes() == (folder / "release.json").read_bytes()
        and device.inside("verify", "--installed", made.MODEL).get("outcome") == "verified"
    )


def test_a_release_comes_from_a_registry_and_only_what_changed_comes_after_it(
    tmp_path: Path, server: registries.Registry
) -> None:
    with registries.proxied(server) as proxy:
        found = fleet(tmp_path, proxy.host)
        first = found.release(1)
        done = found.device.ok("update", made.MODEL)
        assert (done["outcome"], done["way"]) == ("installed", "files")
        assert running(found.device, first)
        second = found.release(2, golden_bin=b"other")
        proxy.asked.clear()
        assert found.device.ok("update", made.MODEL)["way"] == "files"
        assert running(found.device, second)
        fetched = proxy.count(BLOBS)
        assert fetched == len(
            ["SHA256SUMS", ".sig", "release.json", "manifest.json", "preflight.py", "manifest.json", "golden.bin"]
        )
        assert found.device.ok("update", made.MODEL, "--tag", second.name)["outcome"] == "up-to-date"


@pytest.mark.parametrize("api", [False, True], ids=["fallback tag", "referrers API"])
@pytest.mark.parametrize("method", ["zstd", "bsdiff"])
def test_a_patch_comes_from_a_registry(tmp_path: Path, server: registries.Registry, api: bool, method: Method) -> None:
    with registries.proxied(server) as proxy:
        proxy.referrers = {} if api else None
        found = fleet(tmp_path, proxy.host)
        noise = b"".join(of_bytes(b"%d" % number).encode() for number in range(2000))
        first = found.release(1, model_onnx=noise)
        assert found.device.inside("update", made.MODEL)["way"] == "files"
        second = found.release(2, model_onnx=noise[:70_000] + b"changed" + noise[70_000:])
        assert delta.make(first, second, made.quiet, method).delta
        found.publish(second)
        done = found.device.inside("update", made.MODEL)
        assert (done["way"], done["outcome"]) == ("delta", "installed")
        assert done["bytes"] < 40_000
        assert running(found.device, second)
        assert found.device.inside("rollback", made.MODEL)["sequence"] == 1


def test_a_registry_that_wants_a_password_gets_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "docker").mkdir()
    with registries.running(tmp_path / "r", registries.htpasswd(tmp_path)) as own:
        login = base64.b64encode(f"maintainer:{registries.PASSWORD}".encode()).decode()
        (tmp_path / "docker" / "config.json").write_text(f'{{"auths": {{"{own.host}": {{"auth": "{login}"}}}}}}')
        monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
        found = fleet(tmp_path, own.host)
        first = found.release(1)
        assert "user and a password" in found.device.inside("fetch", made.MODEL)["what"]
        (found.device.root / "password").write_text("wrong")
        found.device.configure(user="maintainer", password_file="password")
        assert found.device.inside("fetch", made.MODEL)["kind"] == "http 401"
        (found.device.root / "password").write_text(registries.PASSWORD + "\n")
        assert found.device.ok("update", made.MODEL)["outcome"] == "installed"
        assert running(found.device, first)


@pytest.mark.parametrize("action", ["busy", "wait", "reset", "truncate"])
def test_a_registry_that_fails_is_asked_again(tmp_path: Path, server: registries.Registry, action: registries.Action) -> None:
    with registries.proxied(server) as proxy:
        found = fleet(tmp_path, proxy.host)
        first = found.release(1)
        proxy.faults.append(Fault(action, BLOBS, times=4, after=2))
        proxy.faults.append(Fault(action, "GET .*/manifests/"))
        assert found.device.inside("update", made.MODEL).get("outcome") == "installed"
        assert running(found.device, first)


@pytest.mark.parametrize("where", ["GET .*/blobs/", "GET .*/manifests/"])
@pytest.mark.parametrize("after", range(7))
def test_other_bytes_from_a_registry_are_refused(tmp_path: Path, server: registries.Registry, where: str, after: int) -> None:
    with registries.proxied(server) as proxy:
        found = fleet(tmp_path, proxy.host, retries=0)
        found.release(1)
        proxy.faults.append(Fault("wrong", where, times=1, after=after))
        said = found.device.inside("update", made.MODEL)
        if said.get("outcome") == "installed":  # not each answer holds a byte that the proxy changes, or that anybody reads
            assert found.device.inside("verify", "--installed", made.MODEL)["outcome"] == "verified"
            assert "manifests" in where or after > 3
        else:
            assert said["code"] in {1, 3}
            assert not (found.device.root / made.MODEL / "current").exists()
        proxy.faults.clear()
        assert found.device.inside("update", made.MODEL)["outcome"] in {"installed", "up-to-date"}


def test_a_release_that_nobody_signed_is_refused(tmp_path: Path, server: registries.Registry) -> None:
    found = fleet(tmp_path, server.host)
    folder = made.release(tmp_path / "project" / "1", signed=False)
    found.store.publish(outgoing(folder, unsigned=True))
    said = found.device.inside("fetch", made.MODEL, "--tag", folder.name)
    assert (said["kind"], said["why"]) == ("signature", "there is no signature")


def test_of_several_signatures_one_by_a_known_key_is_enough(tmp_path: Path, server: registries.Registry) -> None:
    found = fleet(tmp_path, server.host)
    folder = made.release(tmp_path / "project" / "1", sequence=1)
    found.store.publish(outgoing(folder))
    found.device.key.sign(folder / "SHA256SUMS")
    found.store.publish(outgoing(folder))
    assert found.device.inside("update", made.MODEL, "--tag", folder.name)["outcome"] == "installed"
    assert running(found.device, folder)


def test_what_a_registry_does_not_have_is_an_error(tmp_path: Path, server: registries.Registry) -> None:
    found = fleet(tmp_path, server.host)
    assert found.device.inside("fetch", made.MODEL)["kind"] == "http 404"


@pytest.mark.parametrize("kind", ["application/vnd.ortolan.ssh-signature.v1", "application/vnd.ortolan.delta.v1"])
def test_a_referrer_that_is_listed_and_was_removed_is_passed_over(tmp_path: Path, server: registries.Registry, kind: str) -> None:
    found = fleet(tmp_path, server.host)
    noise = b"".join(of_bytes(b"%d" % number).encode() for number in range(500))
    first = found.release(1, model_onnx=noise)
    assert found.device.inside("update", made.MODEL)["outcome"] == "installed"
    second = found.release(2, model_onnx=noise + b"more")
    assert delta.make(first, second, made.quiet).delta
    made.key(found.project).sign(second / "SHA256SUMS")  # another signature, beside the first
    found.publish(second)
    at = repository(found.store.address, f"{found.store.address.path}/{made.TARGET}/{made.MODEL}", QUICK)
    stored = at.manifest(second.name)
    assert stored is not None
    listed = [one["digest"] for one in referrers.of(at, stored.digest) if one["artifactType"] == kind]
    assert requests.delete(at.client.base + at.url(f"manifests/{listed[0]}"), timeout=10).status_code == 202
    assert found.device.inside("update", made.MODEL)["outcome"] == "installed"
    assert running(found.device, second)


def test_files_that_went_with_a_rollback_are_fetched_again(tmp_path: Path, server: registries.Registry) -> None:
    found = fleet(tmp_path, server.host)
    first, second = found.release(1), found.release(2, model_onnx=b"second")
    for folder in (first, second):
        assert found.device.inside("update", made.MODEL, "--tag", folder.name)["outcome"] == "installed"
    third = found.release(3, model_onnx=b"second", golden_bin=b"third")
    assert found.device.inside("fetch", made.MODEL)["way"] == "files"
    assert found.device.inside("rollback", made.MODEL)["sequence"] == 1
    assert found.device.inside("install", made.MODEL)["kind"] == "missing"
    assert found.device.inside("update", made.MODEL)["outcome"] == "installed"
    assert running(found.device, third)
