"""Releases in a real registry: what is there afterwards, read by other programs; channels; logins; what is refused."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import oras.client
import pytest

import builds
import outgoing as made
import registry as registries
from ortolan.digest import of_bytes, of_file
from ortolan.errors import GateError, OrtolanError
from ortolan.manifest import WaiverPart
from ortolan.release import layout
from ortolan.release.publish import referrers
from ortolan.release.publish.address import parse
from ortolan.release.publish.artifact import artifact
from ortolan.release.publish.outgoing import outgoing
from ortolan.release.publish.patience import Patience
from ortolan.release.publish.registry import Registry as Store
from ortolan.release.publish.repository import Repository, repository
from ortolan.release.publish.store import Promoted
from ortolan.release.publish.upload import Sessions

QUICK = Patience(tries=3, first=0.001, longest=0.01)
NAME = f"models/{made.TARGET}/{made.MODEL}"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[registries.Registry]:
    """One registry for all; each test has a base of its own."""
    with registries.running(tmp_path_factory.mktemp("registry") / "r") as found:
        yield found


def store(host: str, tmp_path: Path, base: str = "models") -> Store:
    return Store(parse(f"oci://{host}/{base}"), Sessions(tmp_path / "uploads"), made.quiet, QUICK)


@pytest.fixture
def base(tmp_path: Path) -> str:
    return f"m{of_bytes(str(tmp_path).encode())[7:17]}"


@pytest.fixture
def at(server: registries.Registry, tmp_path: Path, base: str) -> Store:
    return store(server.host, tmp_path, base)


def inside(at: Store) -> Repository:
    return repository(at.address, f"{at.address.path}/{made.TARGET}/{made.MODEL}", QUICK)


def delta(folder: Path) -> Path:
    """A description of a delta with its patch, as devices fetch them."""
    about = json.loads((folder / layout.DESCRIPTION).read_bytes())
    return made.delta(folder, about["tar"]["digest"])


def test_a_release_is_there_byte_for_byte(at: Store, tmp_path: Path) -> None:
    release = outgoing(made.release(tmp_path))
    done = at.publish(release)
    stored = inside(at).manifest(made.TAG)
    assert stored is not None
    assert (stored.digest, stored.data) == (done.digest, artifact(release).data)
    for layer in stored.json()["layers"]:
        path = layer["annotations"]["org.cncf.model.filepath"]
        wanted = builds.FILES.get(path) or (release.folder / path).read_bytes()
        assert inside(at).blob(layer["digest"], layer["size"]) == wanted


def test_the_same_again_sends_nothing_and_changes_nothing(at: Store, tmp_path: Path) -> None:
    release = outgoing(made.release(tmp_path))
    first = at.publish(release)
    listed = referrers.of(inside(at), first.digest)
    again = at.publish(release, deep=True)
    assert (again.digest, again.sent) == (first.digest, 0)
    assert referrers.of(inside(at), first.digest) == listed


def test_a_tag_never_changes(at: Store, tmp_path: Path) -> None:
    first = at.publish(outgoing(made.release(tmp_path / "a")))
    other = outgoing(made.release(tmp_path / "b", {**builds.FILES, "model.onnx": b"other"}))
    with pytest.raises(OrtolanError, match=f"(?s){made.TAG} is taken.*leads to {first.digest}, this release is sha256:"):
        at.publish(other)
    stored = inside(at).manifest(made.TAG)
    assert stored is not None
    assert stored.digest == first.digest


def test_the_same_bundle_of_a_later_commit_is_there_already(at: Store, tmp_path: Path) -> None:
    folder = made.release(tmp_path / "a", sequence=10)
    first = at.publish(outgoing(folder))
    listed = referrers.of(inside(at), first.digest)
    later = at.publish(outgoing(made.release(tmp_path / "b", sequence=11)))
    assert (later.digest, later.sent, later.earlier) == (first.digest, 0, layout.read(folder))
    assert referrers.of(inside(at), first.digest) == listed
    assert at.publish(outgoing(folder)).earlier is None


def test_signatures_bills_and_deltas_refer_to_the_release(at: Store, tmp_path: Path) -> None:
    folder = made.release(tmp_path)
    done = at.publish(outgoing(folder))
    patch = delta(folder)
    assert at.publish(outgoing(folder)).digest == done.digest
    listed = {one["artifactType"]: one for one in referrers.of(inside(at), done.digest)}
    assert set(listed) == {
        "application/vnd.ortolan.ssh-signature.v1", "application/vnd.cyclonedx+json", "application/vnd.in-toto+json",
        "application/vnd.ortolan.delta.v1",
    }  # fmt: skip
    signature = inside(at).manifest(listed["application/vnd.ortolan.ssh-signature.v1"]["digest"])
    assert signature is not None
    (layer,) = signature.json()["layers"]
    assert inside(at).blob(layer["digest"], layer["size"]) == (folder / layout.SUMS_SIGNATURE).read_bytes()
    about = listed["application/vnd.ortolan.delta.v1"]
    assert about["annotations"]["dev.ortolan.delta.from"].startswith("sha256:0123456789ab")
    stored = inside(at).manifest(about["digest"])
    assert stored is not None
    titles = {one["annotations"]["org.opencontainers.image.title"]: one["digest"] for one in stored.json()["layers"]}
    assert titles == {patch.name: of_file(patch), patch.with_suffix(".json").name: of_file(patch.with_suffix(".json"))}


def test_the_list_of_referrers_is_an_index_under_the_fallback_tag(at: Store, tmp_path: Path) -> None:
    done = at.publish(outgoing(made.release(tmp_path)))
    index = inside(at).manifest(done.digest.replace(":", "-"))
    assert index is not None
    assert index.media_type == index.json()["mediaType"] == "application/vnd.oci.image.index.v1+json"
    for entry in index.json()["manifests"]:
        stored = inside(at).manifest(entry["digest"])
        assert stored is not None
        assert stored.json()["subject"]["digest"] == done.digest
        assert (entry["artifactType"], entry["annotations"]) == (stored.json()["artifactType"], stored.json()["annotations"])
        assert entry["size"] == len(stored.data)


def test_a_registry_with_the_referrers_api_keeps_the_list_itself(server: registries.Registry, tmp_path: Path, base: str) -> None:
    with registries.proxied(server) as proxy:
        proxy.referrers = {}
        at = store(proxy.host, tmp_path, base)
        done = at.publish(outgoing(made.release(tmp_path)))
        at.promote(made.promotion())
        kinds = [one["artifactType"] for one in referrers.of(inside(at), done.digest)]
        assert sorted(kinds) == [
            "application/vnd.cyclonedx+json", "application/vnd.in-toto+json", "application/vnd.ortolan.promotion.v1+json",
            "application/vnd.ortolan.ssh-signature.v1",
        ]  # fmt: skip
        assert at.channels(made.TARGET, made.MODEL).records["stable"].tag == made.TAG
        assert sorted(inside(at).tags()) == sorted([made.TAG, "stable"])


def test_oras_reads_it_back(at: Store, tmp_path: Path) -> None:
    folder = made.release(tmp_path)
    at.publish(outgoing(folder))
    client = oras.client.OrasClient(insecure=True, tls_verify=False)
    where = f"{at.address.host}/{inside(at).name}:{made.TAG}"
    files = {
        Path(path).relative_to(tmp_path / "out").as_posix(): Path(path)
        for path in client.pull(where, outdir=str(tmp_path / "out"))
    }
    assert {name: path.read_bytes() for name, path in files.items() if name in builds.FILES} == dict(builds.FILES)
    assert of_file(files[layout.SUMS]) == of_file(folder / layout.SUMS)
    assert client.get_manifest(where)["artifactType"] == "application/vnd.cncf.model.manifest.v1+json"


def test_skopeo_reads_and_copies_it(at: Store, tmp_path: Path) -> None:
    done = at.publish(outgoing(made.release(tmp_path)))
    assert shutil.which("skopeo"), ".ci/run names its package"
    where = f"docker://{at.address.host}/{inside(at).name}"
    raw = subprocess.run(
        ["skopeo", "inspect", "--raw", "--tls-verify=false", f"{where}:{made.TAG}"], capture_output=True, check=True
    ).stdout
    assert of_bytes(raw) == done.digest
    words = ["skopeo", "copy", "--src-tls-verify=false", "--dest-tls-verify=false", "--preserve-digests"]
    subprocess.run([*words, f"{where}:{made.TAG}", f"{where}-copy:{made.TAG}"], check=True, capture_output=True)
    copied = repository(at.address, f"{inside(at).name}-copy", QUICK).manifest(made.TAG)
    assert copied is not None
    assert copied.digest == done.digest


def test_a_blob_that_the_registry_lets_rot_is_seen_by_a_deep_look(at: Store, server: registries.Registry, tmp_path: Path) -> None:
    release = outgoing(made.release(tmp_path, {**builds.FILES, "model.onnx": b"rots" + str(tmp_path).encode()}))
    at.publish(release)
    server.corrupt(release.release.files["model.onnx"].digest)
    with pytest.raises(OrtolanError, match=r"(?s)reading .*@sha256:.* failed.*the registry gives"):
        at.publish(release, deep=True)


def test_a_channel_follows_the_release_and_remembers(at: Store, tmp_path: Path) -> None:
    at.publish(outgoing(made.release(tmp_path / "a")))
    second = at.publish(outgoing(made.release(tmp_path / "b", {**builds.FILES, "model.onnx": b"2"}, sequence=11, tag=made.LATER)))
    at.promote(made.promotion())
    at.promote(made.promotion(channel="beta", tag=made.LATER, hour=1))
    done = at.promote(made.promotion(tag=made.LATER, hour=2))
    stored = inside(at).manifest("stable")
    assert stored is not None
    assert stored.digest == second.digest
    assert done.record.previous is not None
    assert done.record.previous.tag == made.TAG
    found = at.channels(made.TARGET, made.MODEL)
    assert found.tags == sorted([made.TAG, made.LATER])
    assert {name: one.tag for name, one in found.records.items()} == {"stable": made.LATER, "beta": made.LATER}
    assert [(one.tag, one.by, one.at) for one in found.records["stable"].history] == [
        (made.TAG, "maintainer@example.org", "2024-05-01T00:00:00Z"),
        (made.LATER, "maintainer@example.org", "2024-05-01T02:00:00Z"),
    ]  # fmt: skip
    assert not found.strange


def test_a_channel_goes_back_and_forth_only_when_asked_to(at: Store, tmp_path: Path) -> None:
    at.publish(outgoing(made.release(tmp_path / "a")))
    at.publish(outgoing(made.release(tmp_path / "b", {**builds.FILES, "model.onnx": b"2"}, sequence=11, tag=made.LATER)))
    at.promote(made.promotion(tag=made.LATER))
    with pytest.raises(OrtolanError, match=r"(?s)sequence 10 is lower than 11.*--back"):
        at.promote(made.promotion(hour=1))
    at.promote(made.promotion(hour=1, back=True))
    at.promote(made.promotion(tag=made.LATER, hour=2))
    record = at.channels(made.TARGET, made.MODEL).records["stable"]
    assert [one.tag for one in record.history] == [made.LATER, made.TAG, made.LATER]
    assert record.at == "2024-05-01T02:00:00Z"


def test_a_release_that_is_signed_anew_has_both_signatures(at: Store, tmp_path: Path) -> None:
    folder = made.release(tmp_path)
    done = at.publish(outgoing(folder))
    made.key(tmp_path).sign(folder / layout.SUMS)
    assert at.publish(outgoing(folder)).digest == done.digest
    kinds = [one["artifactType"] for one in referrers.of(inside(at), done.digest)]
    assert kinds.count("application/vnd.ortolan.ssh-signature.v1") == 2


def test_a_channel_that_leads_there_already_stays(at: Store, tmp_path: Path) -> None:
    at.publish(outgoing(made.release(tmp_path)))
    first = at.promote(made.promotion())
    assert at.promote(made.promotion(hour=5)) == Promoted(first.record, moved=False)


def test_a_channel_that_somebody_moved_by_hand_is_told(at: Store, tmp_path: Path) -> None:
    at.publish(outgoing(made.release(tmp_path)))
    stored = inside(at).manifest(made.TAG)
    assert stored is not None
    inside(at).put_manifest("nightly", stored.data)
    found = at.channels(made.TARGET, made.MODEL)
    assert list(found.strange) == ["nightly"]
    assert "no promotion says why" in found.strange["nightly"]


def test_nothing_but_a_signed_release_is_promoted(at: Store, tmp_path: Path) -> None:
    with pytest.raises(OrtolanError, match=r"(?s)there is no release .*publish comes first"):
        at.promote(made.promotion())
    at.publish(outgoing(made.release(tmp_path, signed=False), unsigned=True))
    with pytest.raises(OrtolanError, match=r"(?s)is not signed.*--unsigned"):
        at.promote(made.promotion())
    assert not at.channels(made.TARGET, made.MODEL).records
    assert at.promote(made.promotion(unsigned=True)).moved


def test_an_image_that_is_no_release_is_not_promoted(at: Store, tmp_path: Path) -> None:
    at.publish(outgoing(made.release(tmp_path)))
    stored = inside(at).manifest(made.TAG)
    assert stored is not None
    value = stored.json()
    inside(at).put_manifest(made.LATER, json.dumps({**value, "artifactType": "application/vnd.example"}).encode())
    with pytest.raises(OrtolanError, match=f"(?s)no release.*no layer {layout.DESCRIPTION}"):
        at.promote(made.promotion(tag=made.LATER))


def test_a_release_under_another_tag_is_not_promoted(at: Store, tmp_path: Path) -> None:
    at.publish(outgoing(made.release(tmp_path)))
    stored = inside(at).manifest(made.TAG)
    assert stored is not None
    inside(at).put_manifest(made.LATER, stored.data)
    with pytest.raises(OrtolanError, match=f"is the release {made.TAG}"):
        at.promote(made.promotion(tag=made.LATER))


def test_a_waiver_that_ran_out_since_keeps_a_release_from_a_channel(at: Store, tmp_path: Path) -> None:
    waiver = WaiverPart(gate="size", subject="fp32", reason="one week", who="maintainer@example.org", expires="2024-04-30")
    folder = made.release(tmp_path, waivers=[waiver])
    at.publish(outgoing(folder, today=datetime(2024, 4, 30, tzinfo=UTC).date()))
    with pytest.raises(GateError, match="ran out on 2024-04-30"):
        at.promote(made.promotion())


def test_a_name_that_no_registry_takes_is_refused(at: Store) -> None:
    with pytest.raises(OrtolanError, match="no name of a repository"):
        at.channels("device", "Net")


def config(folder: Path, host: str, password: str) -> None:
    folder.mkdir(parents=True)
    auth = base64.b64encode(f"maintainer:{password}".encode()).decode()
    (folder / "config.json").write_text(json.dumps({"auths": {host: {"auth": auth}}}))


def test_a_registry_with_passwords(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    release = outgoing(made.release(tmp_path))
    (tmp_path / "auth").mkdir()
    with registries.running(tmp_path / "r", registries.htpasswd(tmp_path / "auth")) as server:
        at = store(server.host, tmp_path)
        monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "nobody"))
        with pytest.raises(OrtolanError, match=r"(?s)401.*docker login"):
            at.publish(release)
        config(tmp_path / "wrong", server.host, "wrong password")
        monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "wrong"))
        with pytest.raises(OrtolanError, match="401") as caught:
            at.publish(release)
        assert "wrong password" not in str(caught.value)
        config(tmp_path / "right", server.host, registries.PASSWORD)
        monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "right"))
        assert store(server.host, tmp_path).publish(release).sent


def test_a_credential_helper_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    release = outgoing(made.release(tmp_path))
    (tmp_path / "auth").mkdir()
    helper = tmp_path / "bin" / "docker-credential-box"
    helper.parent.mkdir()
    with registries.running(tmp_path / "r", registries.htpasswd(tmp_path / "auth")) as server:
        answer = json.dumps({"ServerURL": server.host, "Username": "maintainer", "Secret": registries.PASSWORD})
        helper.write_text(f"#!/bin/sh\ncat >/dev/null\necho '{answer}'\n")
        helper.chmod(0o755)
        monkeypatch.setenv("PATH", str(helper.parent), prepend=":")
        (tmp_path / "docker").mkdir()
        (tmp_path / "docker" / "config.json").write_text(json.dumps({"credHelpers": {server.host: "box"}}))
        monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
        assert store(server.host, tmp_path).publish(release).sent
        helper.write_text("#!/bin/sh\necho no such thing; exit 1\n")
        with pytest.raises(OrtolanError, match=r"(?s)record of logins cannot be read.*docker login"):
            store(server.host, tmp_path).publish(release)
