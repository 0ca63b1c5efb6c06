"""Releases in a store of folders: ``<target>/<model>/<tag>/<files>`` and ``<target>/<model>/channels/<channel>.json``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pydantic import ValidationError

from ... import digest as digests
from ...errors import OrtolanError
from ...events import Emit, Event
from ..layout import DESCRIPTION, MANIFEST, SUMS, SUMS_SIGNATURE, Release
from . import channel
from .channel import Known, Promotion
from .outgoing import SIGNATURES, Outgoing, check_waivers, read_manifest, same_bundle, sums
from .progress import planned
from .store import Channels, Promoted, Published

CHANNELS = "channels"


class Folders(Protocol):
    """Files in folders, named by paths with slashes. All methods raise OrtolanError."""

    def url(self, folder: str) -> str:
        """The folder, for people."""

    def digests(self, folder: str) -> Mapping[str, str]:
        """``{name: sha256:…}`` of the files there, as they are there; empty when there is no such folder."""

    def add(self, folder: str, files: Mapping[str, Path], emit: Emit) -> None:
        """Bring new files, in this order: the last one is never seen without the others."""

    def replace(self, folder: str, name: str, data: bytes, before: bytes | None) -> None:
        """Write a small file. OrtolanError when it no longer is what it was ``before`` (None: not there)."""

    def read(self, folder: str, name: str) -> bytes | None:
        """A small file; None when it is not there."""

    def names(self, folder: str) -> list[str]:
        """The folders and files in a folder, sorted."""

    def prove(self, folder: str, name: str) -> str:
        """The digest of a file that is read back."""


@dataclass(frozen=True)
class Tree:
    """A store over folders of any kind."""

    folders: Folders
    emit: Emit

    def publish(self, release: Outgoing, *, deep: bool = False) -> Published:
        """Bring what is not there, ``SHA256SUMS`` last; then compare all digests (``deep``: of what is read back)."""
        folder = f"{_base(release.release.target, release.release.model)}/{release.release.tag}"
        here = {name: digests.of_file(path) for name, path in release.files.items()}
        there = self.folders.digests(folder)
        if earlier := self._earlier(there, release):
            whole = sum(path.stat().st_size for path in release.files.values())
            return Published(self.folders.url(folder), earlier.digest, 0, whole, earlier.release)
        self._check_same(folder, here, there)
        missing = {name: path for name, path in release.files.items() if name not in there}
        self.emit(planned(path.stat().st_size for path in missing.values()))
        self.folders.add(folder, missing, self.emit)
        for name in SIGNATURES:
            if name in there and name in here and here[name] != there[name]:
                self._renew(folder, release.folder / name)
        self._verify(folder, here, deep=deep)
        sent = sum(path.stat().st_size for path in missing.values())
        kept = sum(path.stat().st_size for path in release.files.values()) - sent
        return Published(self.folders.url(folder), release.digest, sent, kept)

    def _earlier(self, there: Mapping[str, str], release: Outgoing) -> Known | None:
        """The other release that is there, whole, where devices install the same of it."""
        if not {SUMS, DESCRIPTION} <= there.keys() or there[DESCRIPTION] == release.digest:
            return None
        base, tag = _base(release.release.target, release.release.model), release.release.tag
        listed = sums(self.folders.read(f"{base}/{tag}", SUMS) or b"")
        if any(there.get(name) != wanted for name, wanted in listed.items()):
            return None
        known = self._release(base, tag)
        return known if same_bundle(known.release, release.release) else None

    def _check_same(self, folder: str, here: Mapping[str, str], there: Mapping[str, str]) -> None:
        """OrtolanError when a file is there with other bytes; only a signature may be a new one of the same bytes."""
        for name in sorted(there.keys() & here.keys() - set(SIGNATURES)):
            if here[name] != there[name]:
                why = f"it has {there[name]}, this release {here[name]}"
                hint = "a published release never changes: remove it there, or publish a build with another tag"
                raise OrtolanError(f"{name} is there already, and is another", where=self.folders.url(folder), why=why, hint=hint)

    def _renew(self, folder: str, path: Path) -> None:
        self.folders.replace(folder, path.name, path.read_bytes(), self.folders.read(folder, path.name))
        self.emit(Event("note", path.name, "renewed"))

    def _verify(self, folder: str, here: Mapping[str, str], *, deep: bool) -> None:
        there = self.folders.digests(folder)
        if deep:
            there = {name: self.folders.prove(folder, name) for name in there}
        for name, wanted in here.items():
            if there.get(name) != wanted:
                why = f"it has {there.get(name, 'no such file')}, this release {wanted}"
                raise OrtolanError(f"{name} did not arrive", where=self.folders.url(folder), why=why, hint="publish again")

    def promote(self, wanted: Promotion) -> Promoted:
        """Replace the channel's record in one move."""
        base = _base(wanted.target, wanted.model)
        new = self._release(base, wanted.tag)
        self._check(base, new, wanted)
        before = self.folders.read(f"{base}/{CHANNELS}", f"{wanted.channel}.json")
        record = channel.read(before, f"{base}/{CHANNELS}/{wanted.channel}.json") if before else None
        if record and (record.tag, record.release) == (wanted.tag, new.digest):
            return Promoted(record, moved=False)
        made = channel.moved(wanted, new, self._release(base, record.tag) if record else None, record)
        self.folders.replace(f"{base}/{CHANNELS}", f"{wanted.channel}.json", made.to_bytes(), before)
        return Promoted(made, moved=True)

    def channels(self, target: str, model: str) -> Channels:
        """The records as they are, and the folders of releases that are whole."""
        base = _base(target, model)
        names = [name.removesuffix(".json") for name in self.folders.names(f"{base}/{CHANNELS}")]
        found = {name: self.folders.read(f"{base}/{CHANNELS}", f"{name}.json") for name in names}
        records = {name: channel.read(data, f"{base}/{CHANNELS}/{name}.json") for name, data in found.items() if data}
        tags = [name for name in self.folders.names(base) if name != CHANNELS and self.folders.read(f"{base}/{name}", SUMS)]
        return Channels(records, tags, {})

    def _release(self, base: str, tag: str) -> Known:
        """A release that is there, whole, with the description that its sums list. OrtolanError."""
        listed, data = self.folders.read(f"{base}/{tag}", SUMS), self.folders.read(f"{base}/{tag}", DESCRIPTION)
        if listed is None or data is None:
            where = self.folders.url(f"{base}/{tag}")
            raise OrtolanError("there is no such release, or not all of it", where=where, hint="./inv publish comes first")
        if sums(listed).get(DESCRIPTION) != digests.of_bytes(data):
            raise OrtolanError(f"{DESCRIPTION} is not the one that {SUMS} lists", where=self.folders.url(f"{base}/{tag}"))
        try:
            return Known(Release.model_validate_json(data), digests.of_bytes(data))
        except ValidationError as error:
            raise OrtolanError(
                "is no release", where=self.folders.url(f"{base}/{tag}"), why=str(error).splitlines()[0]
            ) from error

    def _check(self, base: str, new: Known, wanted: Promotion) -> None:
        where = self.folders.url(f"{base}/{wanted.tag}")
        if (new.release.tag, new.release.target, new.release.model) != (wanted.tag, wanted.target, wanted.model):
            raise OrtolanError(f"is the release {new.release.tag} of {new.release.target}", where=where)
        data = self.folders.read(f"{base}/{wanted.tag}", MANIFEST) or b""
        if digests.of_bytes(data) != new.release.manifest:
            raise OrtolanError(f"{MANIFEST} is not that of the release", where=where, hint="publish it again")
        check_waivers(read_manifest(data, wanted.tag, where).waivers, wanted.tag, wanted.at.date())
        if not wanted.unsigned and self.folders.read(f"{base}/{wanted.tag}", SUMS_SIGNATURE) is None:
            hint = f"./inv sign {wanted.tag}, then publish it again; or --unsigned"
            raise OrtolanError("the release is not signed", where=where, hint=hint)


def _base(target: str, model: str) -> str:
    return f"{target}/{model}"
