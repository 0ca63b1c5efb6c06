"""Bring one blob to a registry: in chunks, going on where an earlier try, or an earlier process, was cut off.

OCI Distribution Specification 1.1, "Pushing blobs". A session's location is kept in the user's cache until the blob is there.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import requests

from ... import digest as digests
from ...disk import json_bytes, part_of
from ...errors import OrtolanError
from .http import Window, checked, said
from .patience import Transient, insist
from .repository import Repository, closed, location

CHUNK = 16 << 20
"""Bytes in a request: small enough for proxies that bound bodies, large enough that round trips do not count."""

Tell = Callable[[int], None]


@dataclass(frozen=True)
class Blob:
    """What is to be there, and the file that holds it."""

    digest: str
    size: int
    file: Path


@dataclass(frozen=True)
class _Session:
    """An upload that the registry knows: where it goes on, and how much is there."""

    location: str
    offset: int
    chunk: int = CHUNK


class Sessions:
    """Locations of unfinished uploads, one file each, for this user's eyes: they hold the registry's tokens."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def recall(self, repository: Repository, blob: Blob) -> str:
        """The location, or nothing."""
        try:
            value = json.loads(self._path(repository, blob).read_bytes())
        except (OSError, ValueError):
            return ""
        return str(value.get("location", "")) if isinstance(value, dict) else ""

    def keep(self, repository: Repository, blob: Blob, location: str) -> None:
        """Replace it in one move."""
        path = self._path(repository, blob)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        part = part_of(path)
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:
            stream.write(json_bytes({"location": location}))
        part.replace(path)

    def forget(self, repository: Repository, blob: Blob) -> None:
        """The upload has ended, one way or another."""
        self._path(repository, blob).unlink(missing_ok=True)

    def _path(self, repository: Repository, blob: Blob) -> Path:
        key = digests.of_json("upload", [repository.client.base, repository.name, blob.digest])
        return self._folder / f"{digests.short(key, 32)}.json"


class Upload:
    """One blob on its way. ``tell`` hears how many bytes are there."""

    def __init__(self, repository: Repository, blob: Blob, sessions: Sessions, tell: Tell, chunk: int = CHUNK) -> None:
        self._repository, self._blob, self._sessions, self._tell, self._chunk = repository, blob, sessions, tell, chunk
        self._landed = 0
        self._whole = blob.size <= chunk

    def run(self) -> None:
        """Return when the registry has the blob. OrtolanError when it will not take it."""
        what = f"uploading {self._blob.file.name} to {self._repository.where}"
        insist(self._repository.client.patience, what, self._attempt, progress=lambda: self._landed)

    def _attempt(self) -> None:
        if self._repository.has_blob(self._blob.digest, self._blob.size):
            self._sessions.forget(self._repository, self._blob)
            return
        session = self._resumed() or self._begun()
        with self._blob.file.open("rb") as stream:
            if not self._whole:
                session = self._chunks(session, stream)
            self._close(session, stream)
        self._sessions.forget(self._repository, self._blob)

    def _begun(self) -> _Session:
        answer = self._repository.client.ask("POST", self._repository.url("blobs/uploads/"), ok={202})
        least = answer.headers.get("OCI-Chunk-Min-Length", "")
        return _Session(location(answer), 0, max(self._chunk, int(least) if least.isdigit() else 0))

    def _resumed(self) -> _Session | None:
        """The session of an earlier try, if the registry still has it."""
        known = "" if self._whole else self._sessions.recall(self._repository, self._blob)
        if not known:
            return None
        try:
            answer = self._repository.client.once("GET", known)
        except OrtolanError:
            answer = None
        if answer is None or answer.status_code not in {200, 202, 204}:
            self._sessions.forget(self._repository, self._blob)
            return None
        return _Session(location(answer, known), _offset(answer), self._chunk)

    def _chunks(self, session: _Session, stream: IO[bytes]) -> _Session:
        """All chunks that are not there yet; the session after the last. Nothing is sent when the registry takes no chunks."""
        while session.offset < self._blob.size:
            self._sessions.keep(self._repository, self._blob, session.location)
            end = min(session.offset + session.chunk, self._blob.size)
            answer = self._send(
                "PATCH", session.location, Window(stream, session.offset, end - session.offset, self._tell), session.offset
            )
            if session.offset == 0 and answer.status_code in {404, 405, 501}:
                self._whole = True
                return self._begun()
            if answer.status_code == requests.codes.requested_range_not_satisfiable:
                found = self._resumed()  # the registry has more or less than it said; the next try goes on from there
                raise self._lost(answer, keep=found is not None and found.offset != session.offset)
            session = self._after(answer, session, end)
        return session

    def _after(self, answer: requests.Response, before: _Session, end: int) -> _Session:
        if answer.status_code in {400, 404}:  # it has forgotten the session, or cannot go on from there
            raise self._lost(answer)
        checked(answer, {201, 202, 204})
        offset = _offset(answer) if "Range" in answer.headers else end
        if not before.offset < offset <= end:
            raise self._lost(answer)
        self._landed = max(self._landed, offset)
        return _Session(location(answer, before.location), offset, before.chunk)

    def _close(self, session: _Session, stream: IO[bytes]) -> None:
        """The last request, which names the digest; the registry hashes what it has. The whole blob, when it is a small one."""
        window = Window(stream, 0, self._blob.size, self._tell) if self._whole else b""
        answer = self._send("PUT", closed(session.location, self._blob.digest), window, None)
        if answer.status_code in {400, 404, 416}:
            raise self._lost(answer)
        checked(answer, {200, 201, 204})
        self._landed = self._blob.size

    def _send(self, method: str, url: str, body: Window | bytes, offset: int | None) -> requests.Response:
        headers = {"Content-Type": "application/octet-stream"}
        if offset is not None:
            headers["Content-Range"] = f"{offset}-{offset + len(body) - 1}"
        return self._repository.client.once(method, url, headers=headers, body=body)

    def _lost(self, answer: requests.Response, *, keep: bool = False) -> Transient:
        """The session is of no use any more; or only its offset was another (``keep``), which the next try asks for."""
        if not keep:
            self._sessions.forget(self._repository, self._blob)
        return Transient(said(answer))


def _offset(answer: requests.Response) -> int:
    """How many bytes are there: ``Range: 0-<last>``; registries say ``0-0`` when they have none."""
    match = re.fullmatch(r"(?:bytes=)?0-(\d+)", answer.headers.get("Range", ""))
    return int(match[1]) + 1 if match and int(match[1]) else 0
