"""Fetches a file by its digest; a transfer that was cut goes on where it stopped."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from .. import digest
from ..disk import disk
from ..errors import OrtolanError
from ..runtime.make import only_one

_PATIENCE = 60.0  # seconds without a byte
_TRIES = 3


class CutShortError(Exception):
    """A transfer that ended early; what came is kept."""


def fetch(urls: Sequence[str], wanted: str, to: Path, say: Callable[[str], object] = str) -> Path:
    """The file ``to`` with the digest ``wanted``, from the first of ``urls`` that has it.

    OrtolanError with what each of them said; a file with other bytes than wanted is removed.
    """
    if _is(to, wanted):
        return to
    with disk(to):
        to.parent.mkdir(parents=True, exist_ok=True)
        with only_one(to.with_name(f"{to.name}.lock")):
            if not _is(to, wanted):
                say(f"fetching {to.name}")
                _fetch(urls, wanted, to)
    return to


def _is(path: Path, wanted: str) -> bool:
    return path.is_file() and digest.of_file(path) == wanted


def _fetch(urls: Sequence[str], wanted: str, to: Path) -> None:
    part, said = to.with_name(f"{to.name}.partial"), []
    for url in urls:
        try:
            _from(url, part)
        except (OSError, http.client.HTTPException, CutShortError) as error:
            if isinstance(error, OSError) and not isinstance(error, urllib.error.URLError) and error.filename:
                raise  # the disk's, not the network's
            said.append(f"{url}: {error}")
            continue
        found = digest.of_file(part)
        if found == wanted:
            part.replace(to)
            return
        part.unlink()
        said.append(f"{url}: its digest is {found}, and should be {wanted}")
    hint = "check the network and run the same command again, or give a folder that has it with --sources"
    raise OrtolanError(f"{to.name} cannot be fetched", why="\n       ".join(said), hint=hint)


def _from(url: str, part: Path) -> None:
    """Bring ``part`` to its end; after a cut, again from there."""
    for tries in range(1, _TRIES + 1):
        try:
            _go_on(url, part)
        except (CutShortError, ConnectionError, http.client.IncompleteRead):
            if tries == _TRIES:
                raise
        else:
            return


def _go_on(url: str, part: Path) -> None:
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})  # noqa: S310 - sources.toml's URLs
    try:
        with urllib.request.urlopen(request, timeout=_PATIENCE) as answer:  # noqa: S310 - the same
            more = answer.status == http.HTTPStatus.PARTIAL_CONTENT
            with disk(part), part.open("ab" if more else "wb") as stream:
                _copy(answer, stream, answer.headers.get("Content-Length"))
    except urllib.error.HTTPError as error:
        if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:  # there is no more: it is whole, or another file
            raise


def _copy(answer: IO[bytes], stream: IO[bytes], length: str | None) -> None:
    got = 0
    while chunk := answer.read(digest.CHUNK):
        stream.write(chunk)
        got += len(chunk)
    if length and got < int(length):
        raise CutShortError(f"{got} of {length} bytes came")
