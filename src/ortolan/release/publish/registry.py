"""Releases in an OCI registry: one artifact for each, its tag last; what signs or describes it refers to it."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ...errors import OrtolanError
from ...events import Emit
from ..layout import Release
from . import referrers
from .address import REPOSITORY, Address
from .artifact import Artifact, Piece, artifact
from .channel import Promotion
from .follow import channels, promote, release_of
from .outgoing import Outgoing, same_bundle
from .patience import PATIENCE, Patience, Transient, insist
from .progress import moving, planned
from .repository import Repository, Stored, repository
from .store import Channels, Promoted, Published
from .unpacked import unpack
from .upload import CHUNK, Blob, Sessions, Upload

_AT_ONCE = 4


@dataclass(frozen=True)
class Registry:
    """``oci://HOST/BASE``: the repository of a model for a target is ``BASE/<target>/<model>``."""

    address: Address
    sessions: Sessions
    emit: Emit
    patience: Patience = PATIENCE
    chunk: int = CHUNK

    def publish(self, release: Outgoing, *, deep: bool = False) -> Published:
        """Blobs, then the manifest by its digest, then what refers to it; all is checked there before the tag is set."""
        to, made, tag = self._at(release.release.target, release.release.model), artifact(release), release.release.tag
        there = sum(one.size for one in made.pieces)
        found = to.manifest(tag)
        if found and (earlier := _earlier(to, found, release)):
            return Published(self._url(to, tag), found.digest, 0, there, earlier)
        self._is_tagged(to, tag, made)
        sent = self._bring(to, made, release)
        to.put_manifest(made.digest, made.data)
        referrers.push(to, made.referrers)
        _verify(to, made, deep=deep)
        if not self._is_tagged(to, tag, made):
            to.put_manifest(tag, made.data)
            self._is_tagged(to, tag, made)
        return Published(self._url(to, tag), made.digest, sent, there - sent)

    def promote(self, wanted: Promotion) -> Promoted:
        """Push the record as a referrer of the release, then set the channel's tag to the same manifest."""
        return promote(self._at(wanted.target, wanted.model), wanted)

    def channels(self, target: str, model: str) -> Channels:
        """From the repository's tags, and the records that refer to what the channels lead to."""
        return channels(self._at(target, model))

    def _url(self, to: Repository, tag: str) -> str:
        return f"oci://{self.address.host}/{to.name}:{tag}"

    def _at(self, target: str, model: str) -> Repository:
        """The repository. OrtolanError when its name is none that registries take."""
        name = f"{self.address.path}/{target}/{model}"
        if not REPOSITORY.fullmatch(name):
            raise OrtolanError(f"'{name}' is no name of a repository", hint="small letters, digits and single . _ - between them")
        return repository(self.address, name, self.patience)

    def _is_tagged(self, to: Repository, tag: str, made: Artifact) -> bool:
        """Whether the tag is there. OrtolanError when it leads to something else."""
        found = to.manifest(tag)
        if found and found.digest != made.digest:
            why = f"it leads to {found.digest}, this release is {made.digest}"
            hint = "a published tag never changes: remove it from the registry, or publish a build with another tag"
            raise OrtolanError(f"the tag {tag} is taken", where=f"oci://{self.address.host}/{to.name}", why=why, hint=hint)
        return found is not None

    def _bring(self, to: Repository, made: Artifact, release: Outgoing) -> int:
        """Upload the blobs that are not there yet; how many bytes that were."""
        with tempfile.TemporaryDirectory(prefix="ortolan-") as name, ThreadPoolExecutor(_AT_ONCE) as pool:
            folder = Path(name)
            there = list(pool.map(lambda one: to.has_blob(one.digest, one.size), made.pieces))
            missing = [one for one, known in zip(made.pieces, there, strict=True) if not known]
            self.emit(planned(one.size for one in missing))
            blobs = _blobs(missing, release, folder)
            stop = threading.Event()
            _all(pool, [partial(self._upload, to, one, blob, stop) for one, blob in blobs], stop)
        return sum(one.size for one in missing)

    def _upload(self, to: Repository, piece: Piece, blob: Blob, stop: threading.Event) -> None:
        with moving(self.emit, piece.name, piece.size) as tell:

            def heard(there: int) -> None:
                if stop.is_set():
                    raise OrtolanError(f"{piece.name} was not sent to its end", why="another file failed")
                tell(there)

            Upload(to, blob, self.sessions, heard, self.chunk).run()


def _earlier(to: Repository, found: Stored, release: Outgoing) -> Release | None:
    """The other release behind a tag, where devices install the same of it."""
    try:
        there = release_of(to, found)
    except OrtolanError:
        return None  # the tag is taken by something else, which is said next
    return there.release if there.digest != release.digest and same_bundle(there.release, release.release) else None


def _blobs(pieces: Sequence[Piece], release: Outgoing, folder: Path) -> list[tuple[Piece, Blob]]:
    """The pieces with their files, those of the archive taken out of it."""
    unpack(release.folder, release.release, {one.digest for one in pieces if one.source is None}, folder)
    for one in pieces:
        if isinstance(one.source, bytes):
            (folder / one.digest).write_bytes(one.source)
    return [(p, Blob(p.digest, p.size, p.source if isinstance(p.source, Path) else folder / p.digest)) for p in pieces]


def _all(pool: ThreadPoolExecutor, calls: Sequence[Callable[[], None]], stop: threading.Event | None = None) -> None:
    """Run all; at the first failure, or Ctrl-C, begin no more, let those that run ``stop``, and raise it."""
    waiting = [pool.submit(call) for call in calls]
    try:
        for one in as_completed(waiting):
            one.result()
    except BaseException:
        if stop:
            stop.set()
        raise
    finally:
        for one in waiting:
            one.cancel()


def _verify(to: Repository, made: Artifact, *, deep: bool) -> None:
    """OrtolanError unless the registry has the manifest, byte for byte, and every blob of it; ``deep`` reads them all back.

    What it just took it may not know yet everywhere, so that it is asked again before it is said to be lost.
    """
    what = f"finding in {to.where} what was sent there"
    for digest in (made.digest, *(str(one.entry()["digest"]) for one in made.referrers)):
        insist(to.client.patience, what, partial(_verify_manifest, to, digest))
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        _all(pool, [partial(insist, to.client.patience, what, partial(_verify_blob, to, one, deep=deep)) for one in made.pieces])
    insist(to.client.patience, what, lambda: _verify_list(to, made))


def _verify_blob(to: Repository, piece: Piece, *, deep: bool) -> None:
    _find(piece.name, lambda: to.has_blob(piece.digest, piece.size))
    if deep:
        to.prove_blob(piece.digest, piece.size)


def _verify_manifest(to: Repository, digest: str) -> None:
    _find(digest, lambda: to.manifest(digest) is not None)


def _verify_list(to: Repository, made: Artifact) -> None:
    listed = {one.get("digest") for one in referrers.of(to, made.digest)}
    lost = [one for one in made.referrers if one.entry()["digest"] not in listed]
    if lost:  # another client wrote its list over ours
        referrers.push(to, lost)
        raise Transient(f"it does not list {', '.join(one.artifact_type for one in lost)}")


def _find(name: str, there: Callable[[], bool]) -> None:
    if not there():
        raise Transient(f"{name} is not there")
