"""A release that is about to be published: checked against itself, signed, and without a waiver that has run out."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from pydantic import ValidationError

from ... import digest as digests
from ... import manifest
from ...errors import GateError, OrtolanError
from ...manifest import Manifest, WaiverPart
from .. import delta
from ..check import check
from ..layout import DELTA, DESCRIPTION, MANIFEST, MODEL_SIGNATURE, NAMESPACE, SUMS, SUMS_SIGNATURE, Release

SIGNATURES = (SUMS_SIGNATURE, MODEL_SIGNATURE)
_OF_ITS_DAY = {"sequence", "revision", "ortolan", "zst"}


@dataclass(frozen=True)
class Outgoing:
    """A release folder with its description and manifest; ``digest`` is that of release.json."""

    folder: Path
    release: Release
    manifest: Manifest
    digest: str

    @property
    def files(self) -> dict[str, Path]:
        """What a folder of a store holds: all of the release, ``SHA256SUMS`` last, since it is what devices look for first."""
        names = sorted(path.name for path in self.folder.iterdir() if path.is_file() and not path.name.startswith("."))
        return {name: self.folder / name for name in [*(name for name in names if name != SUMS), SUMS]}

    @property
    def deltas(self) -> list[str]:
        """The descriptions of its deltas."""
        return _deltas(self.folder)


def outgoing(folder: Path, *, unsigned: bool = False, today: date | None = None) -> Outgoing:
    """The release in ``folder``, all of whose files have been read.

    OrtolanError when a file differs, a delta is not one to this release, or there is no signature (and ``unsigned`` does not
    allow that); GateError for a waiver that has run out.
    """
    release = check(folder)
    if not unsigned:
        _check_signature(folder)
    made = manifest.read(folder / MANIFEST)
    check_waivers(made.waivers, folder.name, today)
    for name in _deltas(folder):
        _check_delta(folder / name, release)
    return Outgoing(folder, release, made, digests.of_file(folder / DESCRIPTION))


def check_waivers(waivers: Sequence[WaiverPart], of: str, today: date | None = None) -> None:
    """GateError when one of them has run out: what it excused counts as failed."""
    now = (today or datetime.now(UTC).date()).isoformat()
    for one in waivers:
        if one.expires < now:
            what = f"{of}: the gate {one.gate} of {one.subject} failed, and its waiver ran out on {one.expires}"
            raise GateError(what, why=f"{one.who}: {one.reason}", hint="renew the waiver, then build, bundle and sign again")


def read_manifest(data: bytes, of: str, where: str) -> Manifest:
    """A manifest that was read from a store. OrtolanError when this ortolan cannot read it."""
    try:
        return Manifest.model_validate_json(data)
    except ValidationError as error:
        why, hint = str(error).splitlines()[0], "another version of ortolan published it: promote with that one"
        raise OrtolanError(f"cannot read the manifest of {of}", where=where, why=why, hint=hint) from error


def _check_signature(folder: Path) -> None:
    """OrtolanError unless SHA256SUMS.sig is a signature of SHA256SUMS for releases; whose it is, devices decide."""
    signature = folder / SUMS_SIGNATURE
    if not signature.is_file():
        hint = f"./inv sign {folder.name}, or --unsigned where devices trust the store alone"
        raise OrtolanError("the release is not signed", where=str(folder), why=f"there is no {SUMS_SIGNATURE}", hint=hint)
    words = ["ssh-keygen", "-Y", "check-novalidate", "-n", NAMESPACE, "-s", str(signature)]
    try:
        with (folder / SUMS).open("rb") as stream:
            done = subprocess.run(words, stdin=stream, capture_output=True, text=True, check=False)  # noqa: S603
    except FileNotFoundError as error:
        raise OrtolanError(
            "there is no ssh-keygen to check the signature", hint="install OpenSSH's client, 8.7 or newer"
        ) from error
    if done.returncode:
        why = " ".join((done.stderr + done.stdout).split())
        raise OrtolanError(f"is no signature of this {SUMS}", where=str(signature), why=why, hint=f"./inv sign {folder.name}")


def _deltas(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob(f"{DELTA}*.json"))


def _check_delta(path: Path, release: Release) -> None:
    """OrtolanError unless it leads to this release and its patch is beside it: devices would fetch it in vain."""
    about = delta.read(path)
    patch = path.with_name(about.file)
    if about.new != release.tar.digest:
        why = f"it leads to an archive with {about.new}, that of this release has {release.tar.digest}"
        raise OrtolanError("is no delta to this release", where=str(path), why=why, hint="make it again: ./inv delta")
    if not patch.is_file() or (patch.stat().st_size, digests.of_file(patch)) != (about.size, about.digest):
        raise OrtolanError(
            "has not the patch that it describes", where=str(path), why=about.file, hint="make it again: ./inv delta"
        )


def same_bundle(one: Release, other: Release) -> bool:
    """Whether devices install the same of two releases: they may differ in commit, number, and how the archive is packed."""
    return one.model_dump(exclude=_OF_ITS_DAY) == other.model_dump(exclude=_OF_ITS_DAY)


def sums(data: bytes) -> Mapping[str, str]:
    """``{name: sha256:…}`` of a SHA256SUMS that was read from a store."""
    lines = [line.split("  ", 1) for line in data.decode("ascii", "replace").splitlines()]
    return {line[1]: f"sha256:{line[0]}" for line in lines if len(line) == 2}
