"""Archives that somebody has signed all the same, and bytes that somebody has changed: ortolan-device refuses each."""

from __future__ import annotations

import hashlib
import io
import random
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

import releases
from devices import Device, load, make_device
from releases import MODEL, whole, write_release, write_signed

FILES = whole({"model.onnx": bytes(range(256)) * 40, "notes.txt": b"note\n"})

Entry = tuple[str, bytes | None, dict[str, Any]]


@pytest.fixture
def device(tmp_path: Path) -> Device:
    return make_device(tmp_path)


def archive(*entries: Entry) -> bytes:
    """A tar as tarfile writes it, with whatever it can hold."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as made:
        for name, data, about in entries:
            info = tarfile.TarInfo(name)
            for key, value in about.items():
                setattr(info, key, value)
            info.size = len(data or b"")
            made.addfile(info, io.BytesIO(data or b""))
    return out.getvalue()


GOOD: list[Entry] = [(path, data, {}) for path, data in sorted(FILES.items())]
HOSTILE: dict[str, list[Entry]] = {
    "absolute": [("/tmp/ortolan-escaped", b"x", {}), *GOOD],
    "above": [("../../escaped", b"x", {}), *GOOD],
    "symbolic link": [("device", None, {"type": tarfile.SYMTYPE, "linkname": "/tmp"}), *GOOD],
    "hard link": [("device/preflight.py", None, {"type": tarfile.LNKTYPE, "linkname": "/etc/passwd"}), *GOOD],
    "device": [("device/null", None, {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 3}), *GOOD],
    "pipe": [("device/pipe", None, {"type": tarfile.FIFOTYPE}), *GOOD],
    "folder": [("device", None, {"type": tarfile.DIRTYPE}), *GOOD],
    "extra file": [*GOOD, ("zzz", b"x", {})],
    "twice": [GOOD[0], *GOOD],
    "another order": GOOD[::-1],
    "nothing": [],
    "set user": [(path, data, {"mode": 0o4755}) for path, data, _ in GOOD],
}


@pytest.mark.parametrize("packed", [False, True], ids=["tar", "zst"])
@pytest.mark.parametrize("kind", HOSTILE)
def test_an_archive_that_is_not_the_files_that_were_signed_is_refused(
    device: Device, tmp_path: Path, kind: str, packed: bool
) -> None:
    made = archive(*HOSTILE[kind])
    size = len(releases.tar(FILES))
    made = made[:size].ljust(size, b"\0")  # the size is checked before: it must not be what gives it away
    folder = write_signed(tmp_path / "release", FILES, made, device.key, plain=not packed)
    before = {path for path in tmp_path.rglob("*") if "incoming" not in str(path)}
    said = device.inside("install", folder)
    assert (said["kind"], said["code"]) == ("archive", 3), said
    left = {path for path in tmp_path.rglob("*") if path not in before}
    assert left == {device.folder, device.folder / "slots"}
    assert not Path("/tmp/ortolan-escaped").exists()


def test_people_learn_what_is_in_place_of_a_file(device: Device, tmp_path: Path) -> None:
    size = len(releases.tar(FILES))
    made = archive(*HOSTILE["symbolic link"])[:size].ljust(size, b"\0")
    folder = write_signed(tmp_path / "release", FILES, made, device.key)
    assert device.inside("install", folder)["why"] == "a symbolic link 'device' to '/tmp'"


def test_a_bomb_is_not_unpacked(device: Device, tmp_path: Path) -> None:
    """1 GB of zeros in 33 KB: it ends at the size that was signed."""
    packer = zstandard.ZstdCompressor(level=1).compressobj()
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(1000)) + packer.flush()
    folder = write_signed(tmp_path / "release", FILES, releases.tar(FILES), device.key, plain=False, packed=bomb)
    assert device.inside("install", folder)["kind"] == "archive"
    packed = zstandard.ZstdCompressor().compress(releases.tar(FILES)) + bomb
    folder = write_signed(tmp_path / "behind", FILES, releases.tar(FILES), device.key, plain=False, packed=packed)
    said = device.inside("install", folder)
    assert (said["kind"], said["what"]) == ("archive", "the archive holds more than was signed, or does not end")


def test_a_file_with_other_contents_than_signed_is_refused(device: Device, tmp_path: Path) -> None:
    other = FILES | {"model.onnx": bytes(reversed(FILES["model.onnx"]))}
    folder = write_signed(tmp_path / "release", FILES, releases.tar(other), device.key)
    assert device.inside("install", folder)["what"] == "model.onnx is not what was signed"


def test_what_is_no_zst_is_refused(device: Device, tmp_path: Path) -> None:
    folder = write_signed(tmp_path / "release", FILES, releases.tar(FILES), device.key, plain=False, packed=b"no zst")
    assert device.inside("install", folder)["code"] in {1, 3}
    assert not (device.folder / "current").exists()


@pytest.mark.parametrize("path", ["../escaped", "/tmp/ortolan-escaped", ".ortolan/release.json", "a/../../escaped"])
def test_a_description_that_names_a_path_outside_is_refused(device: Device, tmp_path: Path, path: str) -> None:
    files = FILES | {path: b"x"}
    folder = write_signed(tmp_path / "release", files, releases.tar(files), device.key)
    for verb in ("install", "verify", "preflight"):
        assert device.inside(verb, folder)["kind"] == "release"


def test_a_description_that_disagrees_with_the_sums_is_refused(device: Device, tmp_path: Path) -> None:
    change = {"zst": {"digest": "sha256:" + "0" * 64, "size": 10}}
    folder = write_signed(tmp_path / "release", FILES, releases.tar(FILES), device.key, change=change)
    assert "disagree" in device.inside("install", folder)["what"]


@given(st.binary(max_size=3000))
@settings(max_examples=200)
def test_no_bytes_are_an_archive_but_the_right_ones(data: bytes) -> None:
    module = load()
    parts = {path: module.Part(releases.digest(body), len(body)) for path, body in FILES.items()}
    with pytest.raises(module.Problem):
        module.check_members(module.tar_members(io.BytesIO(data), parts))


@pytest.mark.slow
def test_1000_single_byte_changes_are_each_refused(device: Device, tmp_path: Path) -> None:
    """In the archives, in what describes them, in the list of digests and in its signature's own bytes."""
    dice = random.Random(20)
    device.configure(principal=device.key.principal)  # one call of ssh-keygen less each time
    folder = write_release(tmp_path / "release", whole({"model.onnx": dice.randbytes(200_000)}), device.key, plain=False)
    assert device.inside("verify", folder)["outcome"] == "verified"
    paths = sorted(path for path in folder.iterdir() if path.name != "SHA256SUMS.sig")
    for number in range(1000):
        path = paths[number % len(paths)] if number % 2 else folder / "bundle.tar.zst"
        data = path.read_bytes()
        at = dice.randrange(len(data))
        path.write_bytes(data[:at] + bytes([data[at] ^ dice.randrange(1, 256)]) + data[at + 1 :])
        said = device.inside("verify" if number % 10 else "install", folder)
        assert said.get("code") == 3, f"{path.name} at {at}: {said}"
        path.write_bytes(data)
    assert not (device.folder / "current").exists()
    assert device.inside("verify", folder)["outcome"] == "verified"


def test_a_changed_byte_of_the_signature_is_refused(device: Device, tmp_path: Path) -> None:
    folder = write_release(tmp_path / "release", FILES, device.key)
    path = folder / "SHA256SUMS.sig"
    good = path.read_text()
    lines = good.splitlines()
    for line in range(1, len(lines) - 1):
        changed = lines.copy()
        changed[line] = ("B" if lines[line][5] != "B" else "C").join([lines[line][:5], lines[line][6:]])
        path.write_text("\n".join(changed) + "\n")
        assert device.inside("verify", folder)["kind"] == "signature"
    path.write_text(good)
    assert device.inside("verify", folder)["outcome"] == "verified"


def test_the_sum_of_a_file_that_is_not_listed_does_not_count(device: Device, tmp_path: Path) -> None:
    folder = write_release(tmp_path / "release", FILES, device.key)
    (folder / "release.json").unlink()
    releases.sign(folder, device.key)
    assert device.inside("verify", folder)["code"] == 1
    (folder / "release.json").write_bytes(b"{}")
    assert device.inside("verify", folder)["kind"] == "digest"


def test_sha256sum_agrees(device: Device, tmp_path: Path) -> None:
    folder = write_release(tmp_path / "release", FILES, device.key)
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=folder, check=True)
    assert hashlib.sha256((folder / "release.json").read_bytes()).hexdigest() in (folder / "SHA256SUMS").read_text()
    assert device.inside("install", folder)["model"] == MODEL
