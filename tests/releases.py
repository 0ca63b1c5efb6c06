"""Signed release folders made by hand, of whatever files a test wants, with a throw-away key."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import zstandard

from ortolan.disk import json_bytes
from ortolan.release import layout, tarball

MODEL, TARGET = "digits", "x86-cpu"
PREFLIGHT_PATH, SELF_TEST_PATH = "device/preflight.py", "device/selftest.py"
FITS = b"""import json, sys
print(json.dumps({"fits": True, "checks": []}))
"""
FITS_NOT = b"""import json, sys
check = {"name": "platform", "outcome": "fail", "measured": "linux/riscv64", "limit": "linux/amd64", "why": "another processor"}
print(json.dumps({"fits": False, "checks": [check]}))
sys.exit(1)
"""
PASSES = b"import sys\n"
FAILS = b'import sys\nprint("golden sample 3 differs")\nsys.exit(1)\n'
CANNOT_RUN = b'import sys\nprint("no onnxruntime")\nsys.exit(2)\n'


@dataclass(frozen=True)
class Key:
    """A private key, and the file of those who may sign, with its public half in it."""

    private: Path
    signers: Path
    principal: str

    def sign(self, path: Path, namespace: str = layout.NAMESPACE) -> Path:
        """Write ``path``.sig."""
        signature = path.with_name(path.name + ".sig")
        signature.unlink(missing_ok=True)
        command = ["ssh-keygen", "-q", "-Y", "sign", "-f", str(self.private), "-n", namespace, str(path)]
        subprocess.run(command, check=True, capture_output=True)
        return signature


def make_key(folder: Path, principal: str = "release@example.org") -> Key:
    """A key of the kind that releases are signed with."""
    folder.mkdir(parents=True, exist_ok=True)
    private = folder / "key"
    command = ["ssh-keygen", "-q", "-t", "ecdsa", "-b", "256", "-m", "PKCS8", "-N", "", "-C", principal, "-f", str(private)]
    subprocess.run(command, check=True, capture_output=True)
    kind, public, *_ = (folder / "key.pub").read_text().split()
    (folder / "allowed_signers").write_text(f'{principal} namespaces="ortolan-release,ortolan-keys" {kind} {public}\n')
    return Key(private, folder / "allowed_signers", principal)


def tag_of(model: str, files: Mapping[str, bytes]) -> str:
    """A tag that differs when a file does."""
    found = hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest()
    return f"{model}-{found[:12]}-opset17-ort1.20.1"


def whole(files: Mapping[str, bytes], preflight: bytes = FITS, self_test: bytes = PASSES) -> dict[str, bytes]:
    """The files with those that every bundle has."""
    return {"manifest.json": b"{}\n", PREFLIGHT_PATH: preflight, SELF_TEST_PATH: self_test} | dict(files)


def tar(files: Mapping[str, bytes], executable: Collection[str] = ()) -> bytes:
    """The archive of these files."""

    def member(path: str) -> tarball.Member:
        def opened() -> BinaryIO:
            return io.BytesIO(files[path])

        return tarball.Member(path, len(files[path]), path in executable, opened)

    return b"".join(piece for _, piece in tarball.chunks(member(path) for path in sorted(files)))


def describe(
    files: Mapping[str, bytes], archive: bytes, packed: bytes, *, model: str = MODEL, target: str = TARGET, tag: str = "",
    sequence: int = 1, executable: Collection[str] = (),
) -> dict[str, Any]:  # fmt: skip
    """``release.json``."""
    parts = {p: {"digest": digest(d), "size": len(d), "executable": p in executable} for p, d in files.items()}
    return {
        "release_version": 1, "tag": tag or tag_of(model, files), "target": target,
        "model": model, "model_hash": "sha256:" + "0" * 64,
        "sequence": sequence, "revision": "0" * 40, "ortolan": "0.1.0", "manifest": digest(files.get("manifest.json", b"")),
        "files": parts, "unpacked": sum(map(len, files.values())), "tar": {"digest": digest(archive), "size": len(archive)},
        "zst": {"digest": digest(packed), "size": len(packed)},
    }  # fmt: skip


def write_release(folder: Path, files: Mapping[str, bytes], key: Key, *, plain: bool = True, **about: Any) -> Path:
    """A signed release of ``files``; ``about`` as in ``describe``."""
    archive = tar(files, about.get("executable", ()))
    return write_signed(folder, files, archive, key, plain=plain, **about)


def write_signed(
    folder: Path, files: Mapping[str, bytes], archive: bytes, key: Key, *, plain: bool = True,
    packed: bytes | None = None, change: Mapping[str, Any] | None = None, **about: Any,
) -> Path:  # fmt: skip
    """The same with an archive of any bytes, and with ``change``s of the description: what a careless signer could sign."""
    folder.mkdir(parents=True)
    packed = zstandard.ZstdCompressor().compress(archive) if packed is None else packed
    described = describe(files, archive, packed, **about) | dict(change or {})
    written = {
        layout.ZST: packed, layout.DESCRIPTION: json_bytes(described), layout.MANIFEST: files.get("manifest.json", b""),
        layout.PREFLIGHT: files.get(PREFLIGHT_PATH, b""), layout.SBOM: b"{}\n", layout.PROVENANCE: b"{}\n",
    } | ({layout.TAR: archive} if plain else {})  # fmt: skip
    for name, data in written.items():
        (folder / name).write_bytes(data)
    sign(folder, key)
    return folder


def sign(folder: Path, key: Key) -> None:
    """List the digests of the files in a release folder anew, and sign the list."""
    left_out = ("SHA256SUMS", "delta-", "model.sig")
    names = sorted(path.name for path in folder.iterdir() if not path.name.startswith(left_out))
    lines = [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    (folder / layout.SUMS).write_text("".join(lines))
    key.sign(folder / layout.SUMS)


def description(folder: Path) -> dict[str, Any]:
    """The release.json of a folder."""
    found: dict[str, Any] = json.loads((folder / layout.DESCRIPTION).read_bytes())
    return found


def publish(folder: Path, base: Path, channel: str = "") -> str:
    """Put a release into a folder store, and promote it to a channel; its tag."""
    about = description(folder)
    place = base / about["target"] / about["model"]
    (place / about["tag"]).mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        (place / about["tag"] / path.name).write_bytes(path.read_bytes())
    if channel:
        (place / "channels").mkdir(exist_ok=True)
        record = {"channel": channel, "tag": about["tag"], "release": digest((folder / layout.DESCRIPTION).read_bytes())}
        (place / "channels" / f"{channel}.json").write_bytes(
            json_bytes(record | {"previous": None, "by": "", "at": "", "history": []})
        )
    return str(about["tag"])


def digest(data: bytes) -> str:
    """As release.json spells it."""
    return "sha256:" + hashlib.sha256(data).hexdigest()
