"""Releases of builds made by hand: the same bytes each time, every damage refused, nothing half-written, nothing signed lost."""

from __future__ import annotations

import io
import os
import random
import shutil
import subprocess
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from builds import FILES, built, described, recorded
from ortolan.artifact import Outcome
from ortolan.digest import of_bytes, of_file
from ortolan.errors import GateError, OrtolanError
from ortolan.manifest import NAME, GatePart, WaiverPart
from ortolan.release.archive import OWN_FRAME, write
from ortolan.release.bundle import Bundled, Options, bundle, sequence
from ortolan.release.check import check
from ortolan.release.layout import SUMS, TAR, ZST, read
from ortolan.release.source import builds, source
from ortolan.release.tarball import Member
from ortolan.revision import Revision

TODAY = date(2026, 11, 21)
HERE = Revision("0" * 40, 1_700_000_000)
LATER = Revision("1" * 40, 1_700_000_001)


def made(root: Path, record: Path | None = None, **options: Any) -> Bundled:
    found = Options(root / "dist", HERE)
    return bundle(source(record or built(root), TODAY), replace(found, **options))


def left(root: Path) -> set[str]:
    return {path.name for path in (root / "dist").rglob("*") if path.name != ".lock"} if (root / "dist").exists() else set()


def gate(outcome: Outcome, subject: str = "fp32", name: str = "parity@1.17.3") -> GatePart:
    return GatePart(name=name, subject=subject, outcome=outcome, measured="1", limit="0", why="")


def waiver(expires: str, subject: str = "fp32") -> WaiverPart:
    return WaiverPart(gate="parity@1.17.3", subject=subject, reason="seen by eye", who="me@example.com", expires=expires)


# --- what is made --------------------------------------------------------------------------------------------------


def test_a_release_holds_exactly_the_build_and_describes_it(tmp_path: Path) -> None:
    one = made(tmp_path, plain=True)
    release = check(one.folder)
    assert one.new
    assert one.folder == tmp_path / "dist" / "device" / "net-0123456789ab-opset17-ort1.17.3"
    assert set(release.files) == {*FILES, NAME}
    assert {path: part.digest for path, part in release.files.items() if path != NAME} == {
        path: of_bytes(data) for path, data in FILES.items()
    }
    assert {path for path, part in release.files.items() if part.executable} == {"device/preflight.py", "device/selftest.py"}
    assert (release.sequence, release.revision, release.model) == (1_700_000_000, HERE.name, "net")
    assert left(tmp_path) == {
        "device", one.folder.name, TAR, ZST, SUMS, "manifest.json", "preflight.py", "provenance.intoto.json", "release.json",
        "sbom.cdx.json",
    }  # fmt: skip


def test_sha256sum_zstd_and_tar_agree_with_it(tmp_path: Path) -> None:
    one = made(tmp_path, plain=True)
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", SUMS], cwd=one.folder, check=True)
    plain = subprocess.run(["zstd", "-dc", ZST], cwd=one.folder, check=True, capture_output=True).stdout
    assert plain == (one.folder / TAR).read_bytes()
    subprocess.run(["tar", "xf", one.folder / TAR], cwd=tmp_path, check=True)
    assert {path: (tmp_path / path).read_bytes() for path in FILES} == FILES


def test_the_same_build_gives_the_same_bytes_elsewhere_and_later(tmp_path: Path) -> None:
    one, other = made(tmp_path / "a"), built(tmp_path / "b")
    for path in other.parent.rglob("*"):
        if path.is_file():
            path.chmod(0o600)
    two = made(tmp_path / "b", other)
    assert {p.name: p.read_bytes() for p in one.folder.iterdir()} == {p.name: p.read_bytes() for p in two.folder.iterdir()}


def test_the_number_of_threads_changes_no_byte(tmp_path: Path) -> None:
    data = random.Random(1).randbytes(3 << 20) + bytes(3 << 20) + b"ortolan" * (1 << 20)
    (tmp_path / "model").write_bytes(data)
    members = [
        Member(name, len(data), executable=False, open=lambda: (tmp_path / "model").open("rb"))
        for name in ("model.onnx", "model.ort")
    ]
    found = {threads: write(members, tmp_path / f"{threads}", threads=threads) for threads in (1, 2, 4)}
    assert found[1] == found[2] == found[4]
    assert {of_file(tmp_path / f"{threads}") for threads in (1, 2, 4)} == {found[1].zst.digest}


def test_a_large_file_has_the_same_frame_whatever_stands_beside_it(tmp_path: Path) -> None:
    model = random.Random(2).randbytes(OWN_FRAME)

    def packed(beside: bytes) -> bytes:
        both = {"a": beside, "model.onnx": model, "z": beside}
        members = [Member(name, len(data), False, partial(io.BytesIO, data)) for name, data in both.items()]
        write(members, tmp_path / "zst")
        return (tmp_path / "zst").read_bytes()

    frames = [set(packed(beside).split(b"\x28\xb5\x2f\xfd")) for beside in (b"one", b"another" * 1000)]
    assert any(len(frame) > OWN_FRAME for frame in frames[0] & frames[1])


def test_no_thread_outlives_a_bundle_that_failed(tmp_path: Path) -> None:
    before = threading.active_count()
    (tmp_path / "a").write_bytes(bytes(3))
    with pytest.raises(ValueError, match="a is not 4 bytes long"):
        write([Member("a", 4, executable=False, open=lambda: (tmp_path / "a").open("rb"))], tmp_path / "zst")
    assert threading.active_count() == before


# --- sequence ------------------------------------------------------------------------------------------------------


def test_the_sequence_is_as_asked_for_else_source_date_epoch_else_the_commits_time() -> None:
    options = Options(Path(), HERE, sequence=7)
    assert sequence(options, {"SOURCE_DATE_EPOCH": "5"}) == 7
    assert sequence(replace(options, sequence=None), {"SOURCE_DATE_EPOCH": "5"}) == 5
    assert sequence(replace(options, sequence=None), {}) == 1_700_000_000
    for given, environ in ((10**15 + 1, {}), (None, {"SOURCE_DATE_EPOCH": "9" * 20})):
        with pytest.raises(OrtolanError, match="too large a sequence number"):
            sequence(replace(options, sequence=given), environ)


@pytest.mark.parametrize(
    ("environ", "what"), [({}, "no sequence number"), ({"SOURCE_DATE_EPOCH": "yesterday"}, "no number of seconds: 'yesterday'")]
)
def test_without_a_sequence_there_is_no_release(environ: dict[str, str], what: str) -> None:
    with pytest.raises(OrtolanError, match=what) as caught:
        sequence(Options(Path(), Revision("unknown", None)), environ)
    assert "--sequence N" in caught.value.hint


# --- what is refused -----------------------------------------------------------------------------------------------

Harm = Callable[[Path], object]


def in_place_of(path: Path, make: Harm) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    make(path)


HARMS: dict[str, tuple[str, Harm]] = {
    "a byte": ("model.onnx differs", lambda f: (f / "model.onnx").write_bytes(b"\1" + FILES["model.onnx"][1:])),
    "a size": ("model.onnx differs", lambda f: (f / "model.onnx").write_bytes(FILES["model.onnx"] + b"\0")),
    "a package": ("c/model.h differs", lambda f: (f / "c/model.h").write_bytes(b"")),
    "the preflight": ("device/preflight.py differs", lambda f: (f / "device/preflight.py").write_bytes(b"#!/bin/sh\n")),
    "missing": ("golden.bin is missing", lambda f: (f / "golden.bin").unlink()),
    "a folder": ("golden.bin is missing", lambda f: in_place_of(f / "golden.bin", Path.mkdir)),
    "more": ("key.pem is not in the manifest", lambda f: (f / "key.pem").write_bytes(b"")),
    "more inside": ("c/more.c is not in the manifest", lambda f: (f / "c/more.c").write_bytes(b"")),
    "a link": ("golden.bin is no file of its own", lambda f: in_place_of(f / "golden.bin", lambda p: p.symlink_to("/etc/fstab"))),
    "a link to a folder": ("c is no file of its own", lambda f: in_place_of(f / "c", lambda p: p.symlink_to("device"))),
    "a pipe": ("golden.bin is no file of its own", lambda f: in_place_of(f / "golden.bin", os.mkfifo)),
    "no manifest": ("not the manifest of a build", lambda f: (f / NAME).unlink()),
    "half a manifest": ("not the manifest of a build", lambda f: (f / NAME).write_bytes((f / NAME).read_bytes()[:100])),
    "an empty one": ("not the manifest of a build", lambda f: (f / NAME).write_bytes(b"[]")),
    "another shape": ("not a manifest that this ortolan reads", lambda f: (f / NAME).write_bytes(b'{"manifest_version": 1}')),
    "no build": ("not the manifest of a build", shutil.rmtree),
}  # fmt: skip


@pytest.mark.parametrize("name", HARMS)
def test_a_damaged_build_is_refused_and_nothing_is_left(tmp_path: Path, name: str) -> None:
    what, harm = HARMS[name]
    record = built(tmp_path)
    harm(record.parent / described(FILES).tag)
    with pytest.raises(OrtolanError, match=what) as caught:
        made(tmp_path, record)
    assert caught.value.hint == "build again"
    assert left(tmp_path) <= {"device"}


@pytest.mark.slow
def test_a_thousand_single_byte_changes_are_each_refused(tmp_path: Path) -> None:
    record, dice = built(tmp_path), random.Random(5)
    folder = record.parent / described(FILES).tag
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "measurements.json")
    for _ in range(1000):
        path = dice.choice(files)
        before = path.read_bytes()
        place = dice.randrange(len(before))
        path.write_bytes(before[:place] + bytes([before[place] ^ dice.randrange(1, 256)]) + before[place + 1 :])
        with pytest.raises(OrtolanError):
            made(tmp_path, record)
        path.write_bytes(before)
    assert left(tmp_path) <= {"device"}
    assert made(tmp_path, record).new


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"ok": False, "errors": ["net: export: out of memory"]}, "the last build of net for device failed"),
        ({"tag": "net-ffffffffffff-opset17-ort1.17.3"}, "not the manifest of a build"),
        ({"manifest": "sha256:" + "0" * 64}, "not the one that was built"),
    ],
)
def test_only_the_last_build_is_bundled_and_only_when_it_ended_well(tmp_path: Path, changes: dict[str, Any], what: str) -> None:
    built(tmp_path)
    with pytest.raises(OrtolanError, match=what):
        made(tmp_path, recorded(tmp_path, described(FILES), **changes))


def test_a_build_that_a_gate_stopped_is_refused_as_a_gate(tmp_path: Path) -> None:
    built(tmp_path)
    failed = {"name": "max-size", "subject": "shipped", "outcome": "fail"}
    with pytest.raises(GateError, match="gates of the last build of net for device failed") as caught:
        made(tmp_path, recorded(tmp_path, described(FILES), ok=False, gates=[failed]))
    assert caught.value.why == "max-size (shipped)"


@pytest.mark.parametrize("subject", ["fp32", "shipped"])
def test_a_failed_gate_in_the_manifest_is_refused(tmp_path: Path, subject: str) -> None:
    with pytest.raises(GateError, match="gates of this build failed"):
        made(tmp_path, built(tmp_path, gates=[gate(Outcome.FAIL, subject)]))


def test_a_failed_gate_of_a_candidate_that_does_not_ship_is_no_obstacle(tmp_path: Path) -> None:
    assert made(tmp_path, built(tmp_path, gates=[gate(Outcome.FAIL, "int8"), gate(Outcome.NOT_RUN, "shipped")])).new


@pytest.mark.parametrize("expires", ["2026-11-20", "2025-12-31", "never"])
def test_an_expired_waiver_stops_the_release(tmp_path: Path, expires: str) -> None:
    record = built(tmp_path, gates=[gate(Outcome.WAIVED)], waivers=[waiver(expires)])
    with pytest.raises(GateError, match=r"the waiver for parity@1\.17\.3 has expired") as caught:
        made(tmp_path, record)
    assert "me@example.com" in caught.value.why
    assert "today is 2026-11-21" in caught.value.why


@pytest.mark.parametrize("expires", ["2026-11-21", "2026-11-22"])
def test_a_waiver_counts_until_the_end_of_its_day(tmp_path: Path, expires: str) -> None:
    assert made(tmp_path, built(tmp_path, gates=[gate(Outcome.WAIVED)], waivers=[waiver(expires)])).new


@pytest.mark.parametrize("waivers", [[], [waiver("2027-01-01", "shipped")]])
def test_a_waived_gate_needs_its_own_waiver(tmp_path: Path, waivers: list[WaiverPart]) -> None:
    with pytest.raises(GateError, match="waived without a waiver"):
        made(tmp_path, built(tmp_path, gates=[gate(Outcome.WAIVED)], waivers=waivers))


def test_a_manifest_of_another_version_is_refused_as_such(tmp_path: Path) -> None:
    record = built(tmp_path)
    path = record.parent / described(FILES).tag / NAME
    path.write_text(path.read_text().replace('"manifest_version": 1', '"manifest_version": 2'))
    with pytest.raises(OrtolanError, match="a manifest of version 2") as caught:
        made(tmp_path, record)
    assert caught.value.why == "this ortolan reads version 1"


def test_a_build_without_a_preflight_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OrtolanError, match=r"the build has no device/preflight\.py"):
        made(tmp_path, built(tmp_path, {name: data for name, data in FILES.items() if name != "device/preflight.py"}))


@pytest.mark.parametrize("name", ["a:b", 'a"b', "a\\b", "CON|", "a\nb"])
def test_a_name_that_not_every_system_can_unpack_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(OrtolanError, match="is no path inside a bundle"):
        made(tmp_path, built(tmp_path, {**FILES, name: b""}))


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    found = source(built(tmp_path), TODAY)
    (found.folder / "golden.bin").write_bytes(bytes(639) + b"\1")
    with pytest.raises(OrtolanError, match=r"golden\.bin differs from the manifest"):
        bundle(found, Options(tmp_path / "dist", HERE))
    assert left(tmp_path) <= {"device"}


def test_what_is_not_built_is_named_with_what_is(tmp_path: Path) -> None:
    output = built(tmp_path).parents[1]
    assert [path.name for path in builds(output, "device", [])] == ["net.json"]
    with pytest.raises(OrtolanError, match="nothing is built for 'devise'") as caught:
        builds(output, "devise", [])
    assert caught.value.why == "built are device; did you mean device?"
    with pytest.raises(OrtolanError, match="'nett' is not built for device"):
        builds(output, "device", ["nett"])
    with pytest.raises(OrtolanError, match="nothing is built for 'x'"):
        builds(tmp_path / "none", "x", [])


def test_the_record_of_an_image_is_none_of_a_build(tmp_path: Path) -> None:
    output = built(tmp_path).parents[1]
    (output / "device" / "net-0123456789ab-opset17-ort1.17.3.image.json").write_text("{}")
    (output / "device" / "net.image.json").write_text("{}")
    assert [path.name for path in builds(output, "device", [])] == ["net.image.json", "net.json"]


# --- what is there already -----------------------------------------------------------------------------------------


def signed(folder: Path) -> None:
    (folder / "SHA256SUMS.sig").write_text("a signature")


def test_the_same_release_stays_with_its_signatures_and_deltas(tmp_path: Path) -> None:
    one = made(tmp_path)
    signed(one.folder)
    (one.folder / "delta-0123456789ab.json").write_text("{}")
    before = {path: path.stat().st_mtime_ns for path in one.folder.iterdir()}
    two = made(tmp_path)
    assert (two.new, two.release) == (False, one.release)
    assert {path: path.stat().st_mtime_ns for path in one.folder.iterdir()} == before


def test_an_unsigned_release_is_replaced_by_that_of_a_later_commit(tmp_path: Path) -> None:
    one = made(tmp_path)
    two = made(tmp_path, revision=LATER)
    assert (two.new, two.folder) == (True, one.folder)
    assert check(two.folder).revision == LATER.name
    assert (two.release.tar, two.release.zst) == (one.release.tar, one.release.zst)


def test_a_signed_release_of_the_same_build_is_kept_when_only_the_commit_is_later(tmp_path: Path) -> None:
    signed(made(tmp_path).folder)
    two = made(tmp_path, revision=LATER)
    assert (two.new, two.release.revision) == (False, HERE.name)
    assert read(two.folder) == two.release


@pytest.mark.parametrize(
    ("options", "differs"),
    [({"sequence": 1_800_000_000}, "provenance.intoto.json, release.json"), ({"plain": True}, "bundle.tar")],
)
def test_a_signed_release_is_never_given_other_bytes(tmp_path: Path, options: dict[str, Any], differs: str) -> None:
    one = made(tmp_path)
    signed(one.folder)
    before = {path.name: path.read_bytes() for path in one.folder.iterdir()}
    with pytest.raises(OrtolanError, match=f"the release is signed, and now {differs} would have other bytes") as caught:
        made(tmp_path, **options)
    assert "remove the folder" in caught.value.hint
    assert {path.name: path.read_bytes() for path in one.folder.iterdir()} == before


def test_a_signed_release_that_is_damaged_is_not_taken_for_the_same(tmp_path: Path) -> None:
    one = made(tmp_path)
    signed(one.folder)
    (one.folder / ZST).write_bytes(b"")
    with pytest.raises(OrtolanError, match=r"and now bundle\.tar\.zst would have other bytes"):
        made(tmp_path)


def test_an_unsigned_release_that_is_damaged_is_made_anew(tmp_path: Path) -> None:
    one = made(tmp_path)
    (one.folder / SUMS).write_bytes(b"")
    (one.folder / "notes.txt").write_text("more")
    assert made(tmp_path).new
    assert check(one.folder) == one.release
