"""What is refused before anything is sent: damage, no signature, another's signature, a waiver that has run out."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

import builds
import outgoing as made
from ortolan.artifact import Outcome
from ortolan.errors import GateError, OrtolanError
from ortolan.manifest import GatePart, WaiverPart
from ortolan.release import layout
from ortolan.release.publish.outgoing import outgoing
from ortolan.release.publish.unpacked import unpack

WAIVER = WaiverPart(gate="size", subject="fp32", reason="one more week", who="maintainer@example.org", expires="2024-06-30")
GATE = GatePart(name="size", subject="fp32", outcome=Outcome.WAIVED, measured="9 MB", limit="8 MB", why="one more week")


def test_a_release_that_is_whole_and_signed_goes_out(tmp_path: Path) -> None:
    folder = made.release(tmp_path)
    found = outgoing(folder)
    assert found.release.tag == made.TAG
    assert list(found.files)[-1] == layout.SUMS
    assert set(found.files) == {path.name for path in folder.iterdir()}


def test_a_release_without_signature_goes_out_only_when_asked_to(tmp_path: Path) -> None:
    folder = made.release(tmp_path, signed=False)
    with pytest.raises(OrtolanError, match=r"(?s)not signed.*--unsigned"):
        outgoing(folder)
    assert outgoing(folder, unsigned=True).release.tag == made.TAG


def of_other_bytes(folder: Path, root: Path) -> None:
    other = root / "other"
    other.write_bytes(b"0\n")
    (folder / layout.SUMS_SIGNATURE).write_bytes(made.key(root).sign(other).read_bytes())


def for_another_purpose(folder: Path, root: Path) -> None:
    made.key(root).sign(folder / layout.SUMS, "ortolan-keys")


def garbage(folder: Path, root: Path) -> None:
    (folder / layout.SUMS_SIGNATURE).write_text(root.name)


@pytest.mark.parametrize("spoil", [of_other_bytes, for_another_purpose, garbage])
def test_a_signature_of_something_else_is_none(tmp_path: Path, spoil: Callable[[Path, Path], None]) -> None:
    folder = made.release(tmp_path)
    spoil(folder, tmp_path)
    with pytest.raises(OrtolanError, match="is no signature of this SHA256SUMS"):
        outgoing(folder)


@pytest.mark.parametrize("name", [layout.ZST, layout.DESCRIPTION, layout.MANIFEST, layout.SBOM])
def test_a_damaged_file_stays_here(tmp_path: Path, name: str) -> None:
    folder = made.release(tmp_path)
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(OrtolanError, match=name):
        outgoing(folder)


def test_a_waiver_counts_on_its_last_day_and_no_longer(tmp_path: Path) -> None:
    folder = made.release(tmp_path, gates=[GATE], waivers=[WAIVER])
    assert outgoing(folder, today=date(2024, 6, 30)).manifest.waivers == [WAIVER]
    with pytest.raises(GateError, match=r"(?s)the gate size of fp32 failed, and its waiver ran out on 2024-06-30") as caught:
        outgoing(folder, today=date(2024, 7, 1))
    assert caught.value.exit_code == 3


def test_files_come_out_of_the_archive_as_they_went_in(tmp_path: Path) -> None:
    found = outgoing(made.release(tmp_path))
    wanted = {path: part.digest for path, part in found.release.files.items() if path != layout.MANIFEST}
    (tmp_path / "out").mkdir()
    unpack(found.folder, found.release, set(wanted.values()), tmp_path / "out")
    assert {path: (tmp_path / "out" / digest).read_bytes() for path, digest in wanted.items()} == dict(builds.FILES)


def test_an_archive_that_has_changed_since_it_was_checked_is_refused(tmp_path: Path) -> None:
    found = outgoing(made.release(tmp_path / "a"))
    other = made.release(tmp_path / "b", {**builds.FILES, "model.onnx": bytes(len(builds.FILES["model.onnx"]))})
    (tmp_path / "out").mkdir()
    with pytest.raises(OrtolanError, match="lacks files of the release"):
        unpack(found.folder, found.release, {"sha256:" + "0" * 64}, tmp_path / "out")
    with pytest.raises(OrtolanError, match="has changed since it was checked"):
        unpack(other, found.release, {found.release.files["model.onnx"].digest}, tmp_path / "out")


def test_a_delta_for_another_release_is_refused(tmp_path: Path) -> None:
    folder = made.release(tmp_path)
    made.delta(folder, "sha256:" + "0" * 64)
    with pytest.raises(OrtolanError, match="is no delta to this release"):
        outgoing(folder)


def test_a_delta_without_its_patch_is_refused(tmp_path: Path) -> None:
    folder = made.release(tmp_path)
    patch = made.delta(folder, layout.read(folder).tar.digest)
    assert outgoing(folder).deltas == [patch.with_suffix(".json").name]
    patch.write_bytes(b"other")
    with pytest.raises(OrtolanError, match="has not the patch that it describes"):
        outgoing(folder)
    patch.unlink()
    with pytest.raises(OrtolanError, match="has not the patch that it describes"):
        outgoing(folder)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"to": 1}'])
def test_what_is_no_description_of_a_delta_is_refused(tmp_path: Path, text: str) -> None:
    folder = made.release(tmp_path)
    (folder / "delta-0123456789ab.json").write_text(text)
    with pytest.raises(OrtolanError, match="not a delta"):
        outgoing(folder)
